package stacktest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"accord/adapters/devstack"
)

// cluster is the server that the tests of this process share.
type cluster struct {
	url   string        // any database of it; tests get their own
	admin *pgxpool.Pool // makes and drops databases

	mu        sync.Mutex
	templates map[string]func() (string, error)
}

var theCluster = sync.OnceValues(startCluster)

// Postgres gives the URL of a new, empty database. It is dropped when the test ends.
func Postgres(tb testing.TB) string {
	tb.Helper()
	return database(tb, "template1")
}

// PostgresFrom gives the URL of a new database that is a copy of what prepare has made of an empty one. prepare runs once
// in a test process for each name (so use one name for one prepare) and must close its connections. The database is
// dropped when the test ends.
func PostgresFrom(tb testing.TB, name string, prepare func(url string) error) string {
	tb.Helper()
	c, err := theCluster()
	if err != nil {
		tb.Fatalf("stacktest: %v", err)
	}
	template, err := c.template(name, prepare)
	if err != nil {
		tb.Fatalf("stacktest: prepare the template %q: %v", name, err)
	}
	return database(tb, template)
}

func database(tb testing.TB, template string) string {
	tb.Helper()
	c, err := theCluster()
	if err != nil {
		tb.Fatalf("stacktest: %v", err)
	}
	name := unique("test")
	if err := c.create(tb.Context(), name, template); err != nil {
		tb.Fatalf("stacktest: make a database: %v", err)
	}
	tb.Cleanup(func() {
		if err := c.drop(name); err != nil {
			tb.Errorf("stacktest: drop the test's database: %v", err)
		}
	})
	return c.of(name)
}

// template makes the database that PostgresFrom copies, once for each name.
func (c *cluster) template(name string, prepare func(url string) error) (string, error) {
	c.mu.Lock()
	once, ok := c.templates[name]
	if !ok {
		once = sync.OnceValues(func() (string, error) {
			database := unique("template")
			if err := c.create(context.Background(), database, "template1"); err != nil {
				return "", err
			}
			atEnd(func(context.Context) error { return c.drop(database) })
			return database, prepare(c.of(database))
		})
		c.templates[name] = once
	}
	c.mu.Unlock()
	return once()
}

func (c *cluster) create(ctx context.Context, name, template string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := c.admin.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE "+pgx.Identifier{template}.Sanitize())
	return err
}

// drop also ends the sessions a test has left open.
func (c *cluster) drop(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := c.admin.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	return err
}

// of is the URL of one database of the cluster.
func (c *cluster) of(database string) string {
	u, err := url.Parse(c.url)
	if err != nil { // parsed before, in connect
		panic(err)
	}
	u.Path = "/" + database
	return u.String()
}

func startCluster() (*cluster, error) {
	if given := os.Getenv("ACCORD_TEST_DATABASE_URL"); given != "" {
		c, err := connect(given)
		if err != nil {
			return nil, fmt.Errorf("ACCORD_TEST_DATABASE_URL: %w", err)
		}
		return c, nil
	}
	sweep()
	dir, err := newFolder()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	server, err := devstack.StartPostgres(ctx, devstack.PostgresOptions{DataDir: filepath.Join(dir, "postgres")})
	if err != nil {
		return nil, errors.Join(err, removeFolder(dir))
	}
	atEnd(func(ctx context.Context) error {
		return errors.Join(server.Stop(ctx), removeFolder(dir))
	})
	return connect(server.URL())
}

func connect(url string) (*cluster, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	atEnd(func(context.Context) error { pool.Close(); return nil })
	return &cluster{url: url, admin: pool, templates: map[string]func() (string, error){}}, nil
}

// folderPattern names the folders of throw-away clusters. Each holds a file that its process keeps locked while it lives.
const folderPattern = "accord-test-"

var folderLock *os.File // held until the process ends

func newFolder() (string, error) {
	dir, err := os.MkdirTemp("", folderPattern)
	if err != nil {
		return "", err
	}
	// The server may run as another user, who has to pass through.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	if folderLock, err = os.Create(filepath.Join(dir, "alive")); err != nil {
		return "", err
	}
	return dir, syscall.Flock(int(folderLock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// sweep removes the folders of test processes that were killed before they could.
func sweep() {
	found, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPattern+"*"))
	for _, dir := range found {
		file, err := os.Open(filepath.Join(dir, "alive"))
		if err != nil {
			continue // just being made, or another user's
		}
		if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = removeFolder(dir)
		}
		_ = file.Close()
	}
}

// removeFolder removes a cluster's folder, and the one its data went to if the server's user couldn't reach the folder.
func removeFolder(dir string) error {
	return errors.Join(devstack.RemovePostgres(filepath.Join(dir, "postgres")), os.RemoveAll(dir))
}
