//go:build !unix

package sandbox

import (
	"io"
	"os"
)

// lockFile only opens the file here: without flock, the taken port is what keeps a second sandbox away.
func lockFile(path string) (io.Closer, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
