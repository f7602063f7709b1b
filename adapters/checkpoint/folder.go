package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"accord/domain/fault"
	"accord/ports"
)

// Notary implements ports.Notary. Folder is where copies are kept; empty for nowhere.
type Notary struct {
	*Signer
	Folder string
}

var _ ports.Notary = Notary{}

const suffix = ".checkpoint"

func fileOf(number int64) string { return fmt.Sprintf("%012d%s", number, suffix) }

// HandOut implements ports.Notary: one file each, whole or not at all, and on the disk before it is called done.
func (n Notary) HandOut(_ context.Context, all []ports.SealedCheckpoint) error {
	if n.Folder == "" || len(all) == 0 {
		return nil
	}
	if err := os.MkdirAll(n.Folder, 0o755); err != nil { //nolint:gosec // what is in it is for everybody
		return outage(err)
	}
	for _, c := range all {
		if err := write(filepath.Join(n.Folder, fileOf(c.Number)), c.Note); err != nil {
			return outage(err)
		}
	}
	folder, err := os.Open(n.Folder)
	if err != nil {
		return outage(err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil { // the names
		return outage(err)
	}
	return nil
}

func write(path, text string) (err error) {
	draft, err := os.CreateTemp(filepath.Dir(path), ".draft-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	_, err = draft.WriteString(text)
	if err = errors.Join(err, draft.Chmod(0o444), draft.Sync(), draft.Close()); err != nil {
		return err
	}
	return os.Rename(draft.Name(), path)
}

// HandedOut implements ports.Notary.
func (n Notary) HandedOut(context.Context) (last int64, err error) {
	if n.Folder == "" {
		return 0, nil
	}
	names, err := kept(n.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, outage(err)
	}
	for _, name := range names {
		number, err := strconv.ParseInt(strings.TrimSuffix(name, suffix), 10, 64)
		if err == nil {
			last = max(last, number)
		}
	}
	return last, nil
}

func kept(folder string) (names []string, err error) {
	files, err := os.ReadDir(folder)
	for _, f := range files {
		if strings.HasSuffix(f.Name(), suffix) && !f.IsDir() {
			names = append(names, f.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// Kept reads the copies in a folder, by the name of the file. An empty folder is an error: it proves nothing.
func Kept(folder string) (names, notes []string, err error) {
	if names, err = kept(folder); err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("there is no checkpoint in %s (files named *%s)", folder, suffix)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, nil, err
		}
		notes = append(notes, string(text))
	}
	return names, notes, nil
}

func outage(err error) error {
	return fmt.Errorf("%w: %w", fault.New(fault.Unavailable, "unavailable", "checkpoints could not be handed out"), err)
}
