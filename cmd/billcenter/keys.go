package main

import (
	"encoding/hex"
	"fmt"
	"os"
)

type keysCommand struct {
	Link keysLinkCommand `cmd:"" help:"Write the link key to a file, for a mail worker that is not this program."`
}

type keysLinkCommand struct {
	services
	File string `arg:"" help:"File to write, readable by its owner only; an existing one is never overwritten." type:"path"`
}

func (c *keysLinkCommand) Help() string {
	return "The key signs activation links and nothing else. After the key ring got a new key, hand out the new one: older links go on working."
}

func (c *keysLinkCommand) Run(in *invocation) error {
	if err := c.complete(); err != nil {
		return err
	}
	ring, err := c.ring()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.File, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return &usageError{err}
	}
	if _, err := fmt.Fprintln(f, hex.EncodeToString(ring.LinkKeys()[0])); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
