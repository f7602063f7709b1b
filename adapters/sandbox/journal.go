package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// compactAt is the journal size beyond the snapshot that starts a compaction.
const compactAt = 16 << 20

// journal keeps the state in one file of JSON lines: first a snapshot, then what was accepted since, one line per call. A compaction
// writes the next file aside and renames it over, so at any moment the file is whole. An append is one write without
// fsync: the kernel has it when the call is answered, so kill -9 of the process loses nothing.
type journal struct {
	path string
	lock io.Closer // keeps a second sandbox off the same file
	file journalFile
	size int64 // bytes known to be good
	base int64 // size right after the snapshot
}

// journalFile is what the journal needs of an *os.File.
type journalFile interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

type journalHead struct {
	Snapshot *state `json:"snapshot"`
}

// openJournal reads the state and starts the file anew with its snapshot. With path "" there is no file.
func openJournal(path string) (*journal, *state, error) {
	if path == "" {
		return &journal{}, newState(), nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, err
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, nil, fmt.Errorf("state %s is in use by another sandbox: %w", path, err)
	}
	st, err := readJournal(path)
	j := &journal{path: path, lock: lock}
	if err == nil {
		err = j.compact(st)
	}
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	return j, st, nil
}

func readJournal(path string) (*state, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newState(), nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	st := newState()
	lines := bufio.NewReaderSize(file, 1<<20)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return st, nil // a last line without its end was being written when the process died; nobody got an answer
		}
		if err != nil {
			return nil, err
		}
		if number == 1 {
			st, err = decodeSnapshot(line)
		} else {
			var effects []*effect
			err = json.Unmarshal(line, &effects)
			for _, e := range effects {
				if err == nil {
					st.accept(e)
				}
			}
		}
		if err != nil {
			return nil, fmt.Errorf("state %s, line %d: %w", path, number, err)
		}
	}
}

func decodeSnapshot(line []byte) (*state, error) {
	var head journalHead
	if err := json.Unmarshal(line, &head); err != nil {
		return nil, err
	}
	if head.Snapshot == nil {
		return nil, errors.New("snapshot is missing")
	}
	head.Snapshot.index()
	return head.Snapshot, nil
}

// append writes the effects as one line: after a crash all of them are there or none.
func (j *journal) append(st *state, effects ...*effect) error {
	if j.path == "" {
		return nil
	}
	if j.file == nil {
		return os.ErrClosed
	}
	if j.size-j.base > max(compactAt, j.base) {
		if err := j.compact(st); err != nil {
			return err
		}
	}
	line, err := json.Marshal(effects)
	if err != nil {
		return err
	}
	n, err := j.file.Write(append(line, '\n'))
	if err != nil {
		if n > 0 { // half a line must not swallow the next one
			err = errors.Join(err, j.file.Truncate(j.size))
		}
		return err
	}
	j.size += int64(n)
	return nil
}

// compact replaces the file by a snapshot of the state.
func (j *journal) compact(st *state) error {
	line, err := json.Marshal(journalHead{st})
	if err != nil {
		return err
	}
	line = append(line, '\n')
	next := j.path + ".next"
	file, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(line); err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(next, j.path)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	if j.file != nil {
		_ = j.file.Close() // the old file is unlinked; nothing in it is needed
	}
	j.file, j.size, j.base = file, int64(len(line)), int64(len(line))
	return nil
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	err := errors.Join(j.file.Sync(), j.file.Close(), j.lock.Close())
	j.file = nil
	return err
}
