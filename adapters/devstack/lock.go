package devstack

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// errLocked: another living process holds the lock.
var errLocked = errors.New("locked by another process")

// lockFile takes the lock at path, which the kernel gives back when the holder ends, however it ends. It waits for a
// holder until ctx ends (then errLocked), calling waiting once if it has to. Closing the file releases the lock.
func lockFile(ctx context.Context, path string, waiting func()) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = file.Close()
			return nil, err
		}
		if !told && waiting != nil {
			told = true
			waiting()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = file.Close()
			return nil, errLocked
		}
	}
}
