package tenants

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Load reads a tenants file.
func Load(path string) (*Directory, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tenants: %w", err)
	}
	return parse(path, content, filepath.Dir(path), func(*tenantNode) {})
}

//go:embed mongotel.yaml
var mongotel []byte

// Mongotel returns the directory of the built-in tenant alone, with links that begin with baseURL: one of its hosts with
// the port that the portal listens on.
func Mongotel(baseURL string) (*Directory, error) {
	return parse("mongotel.yaml", mongotel, "", func(t *tenantNode) { t.BaseURL.value = baseURL })
}

// Parse reads the content of a tenants file that lies in no folder, so has no pictures; name stands for it in errors. The error has
// one line for each mistake.
func Parse(name string, content []byte) (*Directory, error) {
	return parse(name, content, "", func(*tenantNode) {})
}

func parse(name string, content []byte, folder string, adjust func(*tenantNode)) (*Directory, error) {
	file, err := parser.ParseBytes(content, 0)
	if err != nil {
		return nil, located(name, err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, fmt.Errorf(`%s:1: needs one YAML document with the key "tenants"`, name)
	}
	var plain plainness
	if ast.Walk(&plain, file.Docs[0].Body); plain.mistake != nil {
		return nil, located(name, plain.mistake)
	}
	var root fileNode
	if err := yaml.NodeToValue(file.Docs[0].Body, &root, yaml.Strict()); err != nil {
		return nil, located(name, err)
	}
	if len(root.Tenants) == 0 {
		return nil, fmt.Errorf("%s:1: tenants: lists none; add at least one", name)
	}
	c := checker{file: name, folder: folder, hosts: make(map[string]text), ids: make(map[string]text)}
	all := make([]*Tenant, 0, len(root.Tenants))
	for _, node := range root.Tenants {
		adjust(&node)
		all = append(all, c.tenant(node))
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return newDirectory(all), nil
}

// plainness finds anchors, aliases and tags. No tenant needs them, and the decoder panics on some.
type plainness struct {
	mistake *mistake
}

func (p *plainness) Visit(node ast.Node) ast.Visitor {
	switch node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		p.mistake = &mistake{line: node.GetToken().Position.Line, what: "anchors (&), aliases (*), merges (<<) and tags (!) are not used here; write the value itself, in quotes if it begins so"}
		return nil
	}
	return p
}

// fileNode and the other nodes are the file as it is written. All that they require is that the keys are known.
type fileNode struct {
	Tenants []tenantNode `yaml:"tenants"`
}

type tenantNode struct {
	ID       text       `yaml:"id"`
	Name     text       `yaml:"name"`
	Hosts    []text     `yaml:"hosts"`
	BaseURL  text       `yaml:"baseURL"`
	Support  support    `yaml:"support"`
	Mail     mail       `yaml:"mail"`
	Brand    brand      `yaml:"brand"`
	TimeZone text       `yaml:"timeZone"`
	Locales  []text     `yaml:"locales"`
	Policy   policyNode `yaml:"policy"`

	PaymentPage text `yaml:"paymentPage"`

	line int
}

type support struct {
	Phones    []text `yaml:"phones"`
	ShortDial text   `yaml:"shortDial"`
	Email     text   `yaml:"email"`
	InfoEmail text   `yaml:"infoEmail"`
	Hours     text   `yaml:"hours"`

	HoursIn map[string]text `yaml:"hoursIn"`
}

type mail struct {
	FromName    text `yaml:"fromName"`
	FromAddress text `yaml:"fromAddress"`
}

type brand struct {
	Primary   text `yaml:"primary"`
	OnPrimary text `yaml:"onPrimary"`
	Logo      text `yaml:"logo"`
}

type policyNode struct {
	LeadingZerosOptional text `yaml:"leadingZerosOptional"`
	CodeLife             text `yaml:"codeLife"`
	CodeGrace            text `yaml:"codeGrace"`
	ActivationWindow     text `yaml:"activationWindow"`
	PasswordMin          text `yaml:"passwordMin"`
	ClosedGrace          text `yaml:"closedGrace"`
	SeveralUsers         text `yaml:"severalUsers"`
}

// UnmarshalYAML keeps the line that a tenant begins on, which is where the keys are missed that it lacks.
func (t *tenantNode) UnmarshalYAML(node ast.Node) error {
	type fields tenantNode
	if err := yaml.NodeToValue(node, (*fields)(t), yaml.Strict()); err != nil {
		return err
	}
	t.line = node.GetToken().Position.Line
	return nil
}

// text is a single value as it is written, with or without quotes, and its line; no line: the key is not there.
type text struct {
	value string
	line  int
}

func (t *text) UnmarshalYAML(node ast.Node) error {
	t.line = node.GetToken().Position.Line
	switch node := node.(type) {
	case *ast.StringNode:
		t.value = node.Value
	case *ast.LiteralNode:
		t.value = node.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		t.value = node.GetToken().Value // 611 and 0611 as they stand
	case *ast.NullNode:
		t.value = ""
	default:
		return &mistake{line: t.line, what: "expects a single value here"}
	}
	t.value = strings.TrimSpace(t.value)
	return nil
}

// mistake is one line of what is wrong with a file.
type mistake struct {
	line int
	what string
}

func (m *mistake) Error() string { return m.what }

// located puts file and line before an error of the YAML parser, and leaves out its drawing of the place.
func located(name string, err error) error {
	var m *mistake
	if errors.As(err, &m) {
		return fmt.Errorf("%s:%d: %s", name, m.line, m.what)
	}
	var known yaml.Error
	if errors.As(err, &known) && known.GetToken() != nil {
		return fmt.Errorf("%s:%d: %s", name, known.GetToken().Position.Line, known.GetMessage())
	}
	return fmt.Errorf("%s: %w", name, err)
}

func (c *checker) err() error {
	slices.SortStableFunc(c.mistakes, func(a, b *mistake) int { return a.line - b.line })
	var all []error
	for _, m := range c.mistakes {
		all = append(all, located(c.file, m))
	}
	return errors.Join(all...)
}
