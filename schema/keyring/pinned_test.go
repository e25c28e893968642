package keyring_test

// pinned holds what Python's hmac and cryptography make of the old key, so that it is the documented algorithms that are
// pinned and not our reading of them.
var pinned = map[string]string{
	"code hash":   "c8e68865701202c445c5d6a0679b1a58f99c7eacaba5d49a9cb475eb5a50bd46",
	"account ref": "ee147999bf1e3948e0fab0b372765f28",
	"link key":    "41e92ae22ef54ffebb9add425f36cea9d16464d929283130dd71766e3e6ff577",
	"broker key":  "1fa64e1b44413950e1055cccf11a8bf5a4a8e2fe44f7e2af12e56d75d73e31af",
	"signature":   "765a875a63a68712859547cc1853c071adc6856e83b219a411e38bdf3e847455",
	"sealed":      "0109323032362d31312d61000102030405060708090a0b696481df5a1d820032636e5684390c747f0687a2fb7457b8192b987eaf89",
}
