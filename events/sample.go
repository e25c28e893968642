package events

import (
	"embed"
	"fmt"
)

//go:embed samples/*.json
var samples embed.FS

// Sample is a realistic event of the definition's type, as an indented structured CloudEvent: what `billcenter events sample`
// prints, and the golden file that pins the type's form on the wire. It panics if def is not of the Catalog.
func Sample(def Definition) []byte {
	b, err := samples.ReadFile("samples/" + string(def.Type) + ".json")
	if err != nil {
		panic(fmt.Sprintf("events: no sample of %s: %v", def.Type, err))
	}
	return b
}

// Samples are those of the whole Catalog, by type.
func Samples() map[Type][]byte {
	m := make(map[Type][]byte, len(catalog))
	for _, def := range catalog {
		m[def.Type] = Sample(def)
	}
	return m
}
