package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/mongotel/billcenter/"

// imports is the map of the system: what each package may know of the others. Whoever wants an arrow that is not here
// argues for it here.
var imports = map[string][]string{
	"events":                        {},
	"events/bus":                    {},
	"schema":                        {},
	"schema/enrollment":             {},
	"schema/journey":                {"events"},
	"schema/keyring":                {},
	"schema/locale":                 {},
	"schema/tenants":                {"schema/enrollment", "schema/locale"},
	"schema/store":                  {"events", "schema/enrollment", "schema/journey", "schema/keyring"},
	"schema/store/storetest":        {"deploy/local", "deploy/local/localtest", "schema", "schema/enrollment", "schema/keyring", "schema/store"},
	"events/bus/bustest":            {"deploy/local/localtest", "events/bus"},
	"consumers":                     {"events", "events/bus"},
	"consumers/codes":               {"consumers", "events", "events/bus", "schema/enrollment"},
	"consumers/funnel":              {"consumers", "events", "events/bus", "schema/journey"},
	"consumers/funnel/simulation":   {"consumers/funnel", "events", "schema/journey"},
	"consumers/mailer":              {"consumers", "events", "schema/enrollment", "schema/locale"},
	"consumers/progress":            {"consumers", "events", "schema/enrollment"},
	"producers/billing":             {"events", "schema/enrollment"},
	"producers/billing/conformance": {"events"},
	"producers/deadlines":           {},
	"producers/helpdesk":            {"events", "schema/enrollment"},
	"producers/helpdesk/idptest":    {},
	"producers/outbox":              {"events"},
	"producers/portal":              {"schema/enrollment", "schema/keyring", "schema/locale", "schema/tenants"},
	"deploy/local":                  {},
	"deploy/local/localtest":        {},
	"deploy/nats":                   {},
	"deploy/nats/natstest":          {"deploy/nats"},
}

// drivers are libraries that one package alone may import: whoever else needs what they do goes through it.
var drivers = map[string][]string{
	"github.com/nats-io/nats.go":         {"events/bus"},
	"github.com/nats-io/nats-server/v2":  {"deploy/local", "deploy/nats/natstest", "events/bus/bustest"},
	"github.com/jmoiron/sqlx":            {"schema/store", "schema/store/storetest", "cmd/billcenter"},
	"github.com/lib/pq":                  {"schema/store", "deploy/local"},
	"github.com/ThreeDotsLabs/watermill": {"events/bus", "consumers"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestImportsFollowTheMap(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		seen[name] = true
		for _, i := range p.Imports {
			checkImport(t, name, i)
		}
	}
	for name := range imports {
		if !seen[name] {
			t.Errorf("%s is on the map and not in the tree", name)
		}
	}
}

func checkImport(t *testing.T, name, i string) {
	t.Helper()
	if ours, ok := strings.CutPrefix(i, module); ok {
		if name == "cmd/billcenter" {
			return // wiring knows everything
		}
		allowed, placed := imports[name]
		if !placed {
			t.Errorf("%s has no place on the map of imports", name)
		} else if !slices.Contains(allowed, ours) {
			t.Errorf("%s imports %s, which the map does not allow", name, ours)
		}
	}
	for library, users := range drivers {
		if (i == library || strings.HasPrefix(i, library+"/")) && !slices.Contains(users, name) {
			t.Errorf("%s imports %s; only %v may", name, i, users)
		}
	}
	if (name == "events" || name == "producers/deadlines") && strings.Contains(strings.SplitN(i, "/", 2)[0], ".") {
		t.Errorf("%s imports %s; it needs nothing but the standard library", name, i)
	}
}
