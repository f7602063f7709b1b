package devstack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	// relocationMarker is the file in DataDir that tells where the data went when it can't be in DataDir itself.
	relocationMarker = "relocated-to"
	relocatedPrefix  = "accord-postgres-"
)

// serverUser is who the Postgres server runs as. Postgres refuses to run as root, so root gives it to somebody else.
type serverUser struct {
	name string
	// credential is nil when the server runs as the user of this process.
	credential *syscall.Credential
}

func findServerUser() (*serverUser, error) {
	if os.Geteuid() != 0 {
		return &serverUser{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
		if uidErr != nil || gidErr != nil || uid == 0 {
			continue
		}
		return &serverUser{name: name, credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, fmt.Errorf("postgres: it does not run as root, and there is no user `postgres` or `nobody` to run it as; " +
		"start Accord as an ordinary user, or set ACCORD_DATABASE_URL to use a server that runs already")
}

// apply makes cmd run as this user, in a folder it may be in and with nothing of our environment that a database could
// take for a setting or that is nobody else's business.
func (u *serverUser) apply(cmd *exec.Cmd, dir string) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = u.credential
	cmd.Dir = dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "HOME=" + dir}
	for _, name := range []string{"PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
}

// own makes the user the owner of path.
func (u *serverUser) own(path string) error {
	if u.credential == nil {
		return nil
	}
	return os.Chown(path, int(u.credential.Uid), int(u.credential.Gid))
}

func (u *serverUser) writeFile(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return u.own(path)
}

// may asks the system itself, as the user: permission bits alone don't tell of access lists and mount options.
// what is an operator of test(1), such as -x.
func (u *serverUser) may(ctx context.Context, what, path string) bool {
	if u.credential == nil {
		return true
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `test `+what+` "$1"`, "may", path)
	u.apply(cmd, "/")
	return cmd.Run() == nil
}

// place decides where the cluster's data is, and makes the folder. Normally that is inside DataDir. When the server's user
// can't get there (a checkout below a private home folder, say) it is a system folder named after DataDir, so that the
// next start finds it again.
func (p *Postgres) place(ctx context.Context) (string, error) {
	marker := filepath.Join(p.options.DataDir, relocationMarker)
	within := filepath.Join(p.options.DataDir, "data")
	err := p.tryPlace(ctx, within)
	if err == nil {
		return within, os.RemoveAll(marker)
	}
	reasons := []string{err.Error()}
	sum := sha256.Sum256([]byte(p.options.DataDir))
	name := relocatedPrefix + hex.EncodeToString(sum[:6])
	for _, base := range []string{"/var/lib", "/var/tmp", os.TempDir()} {
		root := filepath.Join(base, name)
		elsewhere := filepath.Join(root, "data")
		if err := p.tryPlace(ctx, elsewhere); err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		p.options.Progress.say(fmt.Sprintf("the user `%s`, as whom Postgres runs here, can't reach %s; the data is kept in %s", p.user.name, within, elsewhere))
		if err := os.WriteFile(marker, []byte(root+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("postgres: note where the data is: %w", err)
		}
		return elsewhere, nil
	}
	return "", fmt.Errorf("postgres: no folder for its data: %s", strings.Join(reasons, "; "))
}

func (p *Postgres) tryPlace(ctx context.Context, data string) error {
	// The parent is ours and passable, the data folder is the server's alone.
	parent := filepath.Dir(data)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	if p.user.credential != nil {
		// The umask may have taken the bit away; and a stranger's folder of this name must not be used.
		info, err := os.Lstat(parent)
		if err != nil {
			return err
		}
		if !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
			return fmt.Errorf("%s is not a folder of this user", parent)
		}
		if err := os.Chmod(parent, 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	if err := p.user.own(data); err != nil {
		return err
	}
	if !p.user.may(ctx, "-x", data) || !p.user.may(ctx, "-w", data) {
		_ = os.Remove(data) // only if it is empty
		return fmt.Errorf("the user `%s` can't use %s", p.user.name, data)
	}
	return nil
}

// RemovePostgres removes all there is of the cluster in dataDir, wherever its data is kept. The server must not run.
func RemovePostgres(dataDir string) error {
	root, err := os.ReadFile(filepath.Join(dataDir, relocationMarker))
	if err == nil {
		elsewhere := strings.TrimSpace(string(root))
		// Whatever the file says, only a folder of the kind that place makes is removed.
		if !filepath.IsAbs(elsewhere) || !strings.HasPrefix(filepath.Base(elsewhere), relocatedPrefix) {
			return fmt.Errorf("postgres: %s names a folder that is not a cluster's", relocationMarker)
		}
		if err := os.RemoveAll(elsewhere); err != nil {
			return fmt.Errorf("postgres: remove its data: %w", err)
		}
	}
	if err := os.RemoveAll(dataDir); err != nil {
		return fmt.Errorf("postgres: remove its folder: %w", err)
	}
	return nil
}
