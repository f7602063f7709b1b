package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

func registering(t *testing.T, customer preference.CustomerID, token string) preference.Request {
	t.Helper()
	change, err := preference.RegisterDevice(preference.Registration{Device: "phone", Platform: preference.IOS, Token: token, Permission: preference.Granted})
	require.NoError(t, err)
	r := portstest.Subscribe(customer)
	r.Change = change
	return r
}

// Whose a token is goes by who has registered it, and by who is about to.
func TestATokenIsContestedFromTheMomentSomebodyElseIsAcceptedWithIt(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	contested := func(token string, customer preference.CustomerID) bool {
		got, err := db.Contested(t.Context(), token, customer)
		require.NoError(t, err)
		return got
	}
	portstest.Apply(t, db, "ada", registering(t, "ada", "token-1"))
	require.False(t, contested("token-1", "ada"))
	require.True(t, contested("token-1", "grace"))
	require.False(t, contested("token-2", "grace"))

	r := registering(t, "grace", "token-1")
	portstest.Accept(t, db, "grace", r)
	require.True(t, contested("token-1", "ada"), "it is under way")
	portstest.Begin(t, db, r.ID)
	require.True(t, contested("token-1", "ada"))
}

func TestDevicesNotHeardOfComePageByPage(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	for i := range 5 {
		customer := preference.CustomerID(fmt.Sprint("customer-", i))
		portstest.Apply(t, db, customer, registering(t, customer, fmt.Sprint("token-", i)))
	}
	exec(t, conn, `UPDATE device_tokens SET updated_at = $1::timestamptz + make_interval(secs => length(customer_id))`, portstest.Noon)
	exec(t, conn, `UPDATE device_tokens SET updated_at = $1 WHERE customer_id = 'customer-4'`, portstest.Noon.Add(time.Hour))
	var got []string
	for last := (ports.UnseenDevice{}); ; {
		page, err := db.Unseen(t.Context(), portstest.Noon.Add(time.Minute), last, 3)
		require.NoError(t, err)
		for _, d := range page {
			require.Equal(t, preference.DeviceID("phone"), d.Device)
			got, last = append(got, string(d.Customer)), d
		}
		if len(page) < 3 {
			break
		}
	}
	require.Equal(t, []string{"customer-0", "customer-1", "customer-2", "customer-3"}, got)
}

// Neither question may read more than it answers, however many devices and operations there are.
func TestQuestionsAboutDevicesGoByTheirIndexes(t *testing.T) {
	t.Parallel()
	conn := connect(t, migrated(t))
	exec(t, conn, `SET enable_seqscan = off`)
	for index, statement := range map[string]string{
		"device_tokens_by_age": `SELECT customer_id FROM device_tokens WHERE updated_at < now() AND (updated_at, customer_id, device_id) > ('-infinity', '', '')
			ORDER BY updated_at, customer_id, device_id LIMIT 5`,
		"operations_open_registrations": `SELECT FROM operations o WHERE o.status IN ('accepted', 'running', 'needs_attention', 'compensating')
			AND o.change->'register' IS NOT NULL AND md5(o.change->'register'->>'token') = md5('t') AND o.customer_id <> 'ada'`,
	} {
		rows, err := conn.Query(t.Context(), `EXPLAIN `+statement)
		require.NoError(t, err)
		var plan strings.Builder
		for rows.Next() {
			var line string
			require.NoError(t, rows.Scan(&line))
			plan.WriteString(line + "\n")
		}
		require.NoError(t, rows.Err())
		require.Contains(t, plan.String(), index)
	}
}
