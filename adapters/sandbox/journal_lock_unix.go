//go:build unix

package sandbox

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// lockFile takes an advisory lock that the kernel drops with the process, so a crash leaves nothing to clean up.
func lockFile(path string) (io.Closer, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return fileLock{file}, nil
}

type fileLock struct{ file *os.File }

// Close unlocks first: a child process that is just being started shares the open file until it runs its program, and
// closing our side alone would leave it locked until then.
func (l fileLock) Close() error {
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}
