package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// disk is a small file system for Postgres that can be filled without anybody else noticing. Where mounting one is not allowed,
// the folder is an ordinary one and is never filled.
type disk struct {
	path    string
	mounted bool

	mu sync.Mutex
}

const diskSize = "size=1500m"

func newDisk(path string) *disk {
	d := &disk{path: path}
	if os.MkdirAll(path, 0o755) == nil { //nolint:gosec // Postgres runs as somebody else
		d.mounted = mountMemory(path, diskSize) == nil
	}
	return d
}

func (d *disk) ballast() string { return filepath.Join(d.path, "ballast") }

// fill leaves no room. False where that is not possible.
func (d *disk) fill() bool {
	if !d.mounted {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := os.Create(d.ballast())
	if err != nil {
		return errors.Is(err, syscall.ENOSPC)
	}
	defer f.Close()
	for size := int64(8 << 20); size >= 4<<10; {
		if _, err := io.CopyN(f, zeroes{}, size); err != nil {
			size /= 2 // down to what is left in small pieces
		}
	}
	return true
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// free gives the room back.
func (d *disk) free() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = os.Remove(d.ballast()) // it may not be there
}

func (d *disk) unmount() error {
	if !d.mounted {
		return nil
	}
	return unmountMemory(d.path)
}
