package stacktest_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"accord/adapters/devstack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	first, second := connect(t, stacktest.Postgres(t)), connect(t, stacktest.Postgres(t))
	_, err := first.Exec(t.Context(), `CREATE TABLE mine (n int)`)
	require.NoError(t, err)
	var exists bool
	require.NoError(t, second.QueryRow(t.Context(), `SELECT to_regclass('mine') IS NOT NULL`).Scan(&exists))
	require.False(t, exists)
}

func TestTheRoleIsAnOrdinaryOne(t *testing.T) {
	t.Parallel()
	var super bool
	err := connect(t, stacktest.Postgres(t)).QueryRow(t.Context(), `SELECT rolsuper FROM pg_roles WHERE rolname = current_user`).Scan(&super)
	require.NoError(t, err)
	require.False(t, super, "a superuser would not notice what the database forbids")
}

func TestADatabaseIsGoneAfterItsTest(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("inner", func(t *testing.T) {
		// Left open on purpose: the drop must not wait for it.
		conn, err := pgx.Connect(t.Context(), stacktest.Postgres(t))
		require.NoError(t, err)
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT current_database()`).Scan(&name))
	})
	var exists bool
	err := connect(t, stacktest.Postgres(t)).QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists)
	require.NoError(t, err)
	require.False(t, exists)
}

func TestATemplateIsPreparedOnceAndCopied(t *testing.T) {
	t.Parallel()
	prepared := make(chan struct{}, 10)
	prepare := func(url string) error {
		prepared <- struct{}{}
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		_, err = conn.Exec(t.Context(), `CREATE TABLE things (n int); INSERT INTO things VALUES (42)`)
		return err
	}
	t.Run("copies", func(t *testing.T) {
		for range 4 {
			t.Run("copy", func(t *testing.T) {
				t.Parallel()
				conn := connect(t, stacktest.PostgresFrom(t, "things", prepare))
				var n, rows int
				require.NoError(t, conn.QueryRow(t.Context(), `UPDATE things SET n = n + 1 RETURNING n`).Scan(&n))
				require.Equal(t, 43, n, "each copy starts as prepared")
				require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM things`).Scan(&rows))
				require.Equal(t, 1, rows)
			})
		}
	})
	require.Len(t, prepared, 1)
}

func hello(workflow.Context) (string, error) { return "hello", nil }

func TestANewNamespaceRunsWorkflowsAtOnce(t *testing.T) {
	t.Parallel()
	address, namespace := stacktest.TemporalNamespace(t)
	require.Equal(t, stacktest.Temporal(t), address, "one server for the process")
	_, other := stacktest.TemporalNamespace(t)
	require.NotEqual(t, namespace, other)

	c, err := client.Dial(client.Options{HostPort: address, Namespace: namespace})
	require.NoError(t, err)
	defer c.Close()
	w := worker.New(c, "queue", worker.Options{})
	w.RegisterWorkflow(hello)
	require.NoError(t, w.Start())
	defer w.Stop()

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: "queue"}, hello)
	require.NoError(t, err)
	var said string
	require.NoError(t, run.Get(ctx, &said))
	require.Equal(t, "hello", said)
}
