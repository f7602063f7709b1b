package links

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// NewKey makes a key in the form in which it is configured.
func NewKey(id string) string {
	secret := make([]byte, KeySize)
	_, _ = rand.Read(secret) // never fails
	return id + ":" + base64.StdEncoding.EncodeToString(secret)
}

const keyFile = "link-keys"

// DevKeys are those kept in a folder, for the development stack alone: one is made where there is none. Of two processes
// that start at once the second finds the first one's key, whole.
func DevKeys(dir string) ([]string, error) {
	path := filepath.Join(dir, keyFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKey(dir, path); err == nil {
			raw, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("keys of links: %w", err)
	}
	return strings.Split(strings.TrimSpace(string(raw)), ","), nil
}

func makeKey(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	draft, err := os.CreateTemp(dir, keyFile+".*") // which only its owner can read
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	_, err = draft.WriteString(NewKey("dev") + "\n")
	if err = errors.Join(err, draft.Close()); err != nil {
		return err
	}
	if err := os.Link(draft.Name(), path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
