package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// oldestPostgres is the lowest major version the migrations are made for.
const oldestPostgres = 14

// FindPostgres gives the folder of the server programs that StartPostgres would use for a new cluster, downloading them
// if the machine has none.
func FindPostgres(ctx context.Context, progress Progress) (string, error) {
	user, err := findServerUser()
	if err != nil {
		return "", err
	}
	return findPostgres(ctx, "", "", user, progress)
}

// findPostgres gives a folder with initdb and postgres that user can run: the given one, else the machine's own (of the
// major version that made the cluster, if there is one), else a download.
func findPostgres(ctx context.Context, given, major string, user *serverUser, progress Progress) (string, error) {
	if given != "" {
		version, err := serverVersion(ctx, given, user)
		if err != nil {
			return "", fmt.Errorf("postgres: the binaries in %s: %w", given, err)
		}
		if major != "" && strconv.Itoa(version) != major {
			return "", fmt.Errorf("postgres: the data was made by version %s, the binaries in %s are of version %d", major, given, version)
		}
		return given, nil
	}
	var seen []string
	for _, dir := range postgresFolders() {
		version, err := serverVersion(ctx, dir, user)
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				seen = append(seen, fmt.Sprintf("%s (%v)", dir, err))
			}
			continue
		}
		if version < oldestPostgres || (major != "" && strconv.Itoa(version) != major) {
			seen = append(seen, fmt.Sprintf("%s (version %d)", dir, version))
			continue
		}
		return dir, nil
	}
	dir, err := downloadPostgres(ctx, major, user, progress)
	if err == nil {
		return dir, nil
	}
	need := fmt.Sprintf("%d or newer", oldestPostgres)
	if major != "" {
		need = major + ", which made the data there is"
	}
	if len(seen) == 0 {
		seen = []string{"none"}
	}
	return "", fmt.Errorf("postgres: no server of version %s. On this machine: %s. Download: %w. "+
		"Install one (Debian: apt-get install postgresql; macOS: brew install postgresql), or set ACCORD_DATABASE_URL to use one that runs already",
		need, strings.Join(seen, ", "), err)
}

// postgresFolders lists where a server may be, best first.
func postgresFolders() []string {
	var folders []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, "postgres")
		// Often a link to where initdb finds its share folder and its sisters.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			folders = append(folders, filepath.Dir(real))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
		"/usr/pgsql-*/bin",          // Red Hat, Fedora
		"/usr/libexec/postgresql*",  // Alpine
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/opt/homebrew/opt/postgresql/bin",
		"/usr/local/opt/postgresql/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		found, _ := filepath.Glob(pattern)
		slices.SortFunc(found, func(a, b string) int { return numberIn(b) - numberIn(a) })
		folders = append(folders, found...)
	}
	var unique []string
	for _, dir := range folders {
		if !slices.Contains(unique, dir) {
			unique = append(unique, dir)
		}
	}
	return unique
}

// numberIn is the number made of the digits in path: enough to put versions of one pattern in order.
func numberIn(path string) int {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, path)
	number, _ := strconv.Atoi(digits)
	return number
}

// serverVersion asks the binaries in dir, as user, for their major version. os.ErrNotExist when they aren't both there.
func serverVersion(ctx context.Context, dir string, user *serverUser) (int, error) {
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return 0, err
		}
	}
	limit, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(limit, filepath.Join(dir, "postgres"), "--version")
	user.apply(cmd, "/")
	output, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("do not run: %w", err)
	}
	for _, word := range strings.Fields(string(output)) { // postgres (PostgreSQL) 15.18 (Debian …)
		head, _, _ := strings.Cut(word, ".")
		if version, err := strconv.Atoi(head); err == nil {
			return version, nil
		}
	}
	return 0, fmt.Errorf("unknown version %q", output)
}

// downloads lists what can be downloaded, by major version.
var downloads = map[string]embeddedpostgres.PostgresVersion{
	"15": embeddedpostgres.V15, "16": embeddedpostgres.V16, "17": embeddedpostgres.V17, "18": embeddedpostgres.V18,
}

// downloadPostgres fetches a server into the user's cache, once, and gives its folder.
func downloadPostgres(ctx context.Context, major string, user *serverUser, progress Progress) (string, error) {
	if major == "" {
		major = "17"
	}
	version, ok := downloads[major]
	if !ok {
		return "", fmt.Errorf("there is none of version %s", major)
	}
	cache, err := postgresCache(ctx, user)
	if err != nil {
		return "", err
	}
	lock, err := lockFile(ctx, filepath.Join(cache, "lock"), func() { progress.say("another process is downloading Postgres") })
	if err != nil {
		return "", err
	}
	defer lock.Close()
	root := filepath.Join(cache, string(version))
	bin := filepath.Join(root, "bin")
	if _, err := serverVersion(ctx, bin, user); err == nil {
		return bin, nil
	}
	progress.say(fmt.Sprintf("downloading PostgreSQL %s", version))
	if err := fetchPostgres(ctx, version, cache, root); err != nil {
		return "", err
	}
	if _, err := serverVersion(ctx, bin, user); err != nil {
		return "", fmt.Errorf("what was downloaded: %w", err)
	}
	return bin, nil
}

// fetchPostgres has the library download and unpack, which it does as the first part of a start. The rest of that start is
// of no use here (it fails as root, and what it starts outlives a parent that is killed), so it works on a scratch folder,
// is stopped at once, and only what has been unpacked counts.
func fetchPostgres(ctx context.Context, version embeddedpostgres.PostgresVersion, cache, root string) error {
	scratch, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	unpacked := filepath.Join(scratch, "server")
	port, err := freePort()
	if err != nil {
		return err
	}
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(version).Port(uint32(port)).Logger(io.Discard).CachePath(cache).
		RuntimePath(filepath.Join(scratch, "run")).DataPath(filepath.Join(scratch, "data")).BinariesPath(unpacked))
	done := make(chan error, 1)
	go func() {
		err := server.Start() // takes no context
		if err == nil {
			err = server.Stop()
		}
		done <- err
	}()
	limit, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	select {
	case err = <-done:
	case <-limit.Done():
		return limit.Err()
	}
	if _, missing := os.Stat(filepath.Join(unpacked, "bin", "postgres")); missing != nil {
		if err == nil {
			err = missing
		}
		return err
	}
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	return os.Rename(unpacked, root)
}

// postgresCache is where downloads are kept: the user's cache folder, or for root one that the server's user can reach.
func postgresCache(ctx context.Context, user *serverUser) (string, error) {
	base := "/var/cache"
	if user.credential == nil {
		var err error
		if base, err = os.UserCacheDir(); err != nil {
			return "", err
		}
	}
	cache := filepath.Join(base, "accord", "postgres")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	if !user.may(ctx, "-x", cache) {
		return "", fmt.Errorf("the user `%s` can't reach %s", user.name, cache)
	}
	return cache, nil
}
