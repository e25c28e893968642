package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// spanishDay is a date as Spanish writes it; the sample invoices are of this year and the last.
var spanishDay = regexp.MustCompile(`\d{1,2} de (enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre) de 20\d\d`)

// A customer whose browser asks for Spanish gets through without reading a word of English.
func TestACustomerEnrollsInSpanish(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)

	ana := up.visitor(t)
	ana.speaks = "es-MX,es;q=0.9,en;q=0.5"
	page := ana.get("/")
	page.says("Sus facturas de Mongotel, en un solo lugar").says("de lunes a viernes")
	page.follows("Regístrese para abrir una cuenta").is(http.StatusOK, "/signup").says("Código de registro")

	// What went wrong is told in Spanish, beside the field and above the form, and so is whom to ask.
	sign := fields{"account_number": account, "registration_code": "WRNG-CODE-0000", "email": "ana@bobsbuilding.example", "username": "AnaBuilding"}
	ana.fill("/signup", sign).is(http.StatusUnprocessableEntity, "/signup").says("no se corresponden").says("Comuníquese con asistencia")

	sign["registration_code"] = code
	page = ana.fill("/signup", sign).is(http.StatusOK, "/signup/check-email")
	page.says("Revise su correo electrónico").says("a***@")

	// The mail is in the language of the page that asked for it, and says until when its link works.
	mail := up.inbox.expect(t, "ana@bobsbuilding.example")
	if mail.Subject != "Termine de registrar su cuenta de Mongotel" {
		t.Errorf("the mail's subject is %q", mail.Subject)
	}
	for _, words := range []string{"Hola, AnaBuilding:", "El enlace funciona durante 3 días", "¿No fue usted?", "(718) 942-9990", "de lunes a viernes"} {
		if !strings.Contains(mail.Text, words) {
			t.Errorf("the mail does not say %q:\n%s", words, mail.Text)
		}
	}
	if !spanishDay.MatchString(mail.Text) || !strings.Contains(mail.HTML, `lang="es"`) {
		t.Errorf("the mail is not all Spanish:\n%s", mail.Text)
	}
	ana.eventually("/signup/check-email", "Enviado el")

	link := mail.link(t)
	ana.fill(link, fields{"password": "corta", "password_confirmation": "corta"}).is(http.StatusUnprocessableEntity, link).
		says("La contraseña necesita al menos 15 caracteres")
	ana.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login").
		says("Su cuenta está activa").value("username", "AnaBuilding")
	ana.get(link).is(http.StatusGone, link).says("Su cuenta ya está activa")

	// The account, its days and its amounts.
	page = ana.fill("/login", fields{"username": "anabuilding", "password": passphrase})
	page.is(http.StatusOK, "/account").says("Cerrar sesión").says(account).says("INV-").says("$")
	if !spanishDay.MatchString(page.text()) {
		t.Errorf("no day in Spanish:\n%s", page.text())
	}

	// The address of record is told in the language that billing writes to it in.
	up.inbox.expectSubject(t, "ap@bobsbuilding.example", "Online access")

	// A colleague at a Spanish browser who prefers English says so once.
	bob := up.visitor(t)
	bob.speaks = "es"
	bob.get("/login?lang=en-US").says("No account yet?")
	bob.get("/help/code").is(http.StatusOK, "/help/code").says("The registration code does not work")
}
