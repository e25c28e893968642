package events_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/mongotel/billcenter/events"
)

func TestCompactIsWhatJSONSays(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"a":1}`, `{ "a" : 1 }`, `{"a":"b c"}`, `{"a":"\\" , "b":"\\\\"}`, `{"a":"\\\""}`, `{"a":[1,2 ,3]}`, "{\"a\":1\n}", `{"a":"\\\" "}`,
		`{"a":"x\\u0020 y"}`,
	} {
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := events.Compact([]byte(text)); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s: %s, want %s", text, got, want.Bytes())
		}
	}
}
