package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func kept(path string) func(*Config) { return func(c *Config) { c.StatePath = path } }

// crash leaves the sandbox as kill -9 would: nothing is flushed or closed in order. Only the lock goes, as it would with
// the process.
func (h *harness) crash() {
	h.t.Helper()
	h.sandbox.mu.Lock()
	defer h.sandbox.mu.Unlock()
	require.NoError(h.t, h.sandbox.journal.lock.Close())
	require.NoError(h.t, h.sandbox.journal.file.Close())
	h.sandbox.journal.file = nil
}

func TestStateSurvivesACrash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "sandbox.jsonl")
	h := start(t, kept(path), delayed(time.Second))
	h.put("ada", `{"crm":{"email_marketing":"subscribed","channels":{"news":"unsubscribed"}},"push":{"devices":[{"token":"t1"}]},
		"cmp":{"purposes":{"push-marketing":"granted"}}}`)
	h.braze("POST", "/users/track", `{"attributes":[{"external_id":"ada","email_subscribe":"unsubscribed","tier":null}]}`)
	h.receipt("ada", emailPurpose, "CONFIRMED")
	h.oneSignal("PATCH", "/subscriptions_by_token/AndroidPush/t1", `{"subscription":{"enabled":false}}`)
	h.do("POST", "/_sandbox/messages", `{"audience":{"type":"global"},"title":"Hello"}`)
	h.personal("You", `,"locale":"en","variants":{"de":{"title":"Du"}}`)
	before := h.customer("ada")
	require.Equal(t, "subscribed", before.CRM.EmailMarketing)
	h.crash()

	again := start(t, kept(path), delayed(time.Hour), func(c *Config) { c.Clock = h.clock.Now })
	require.Equal(t, before, again.customer("ada"))
	require.Len(t, again.campaigns("").json(t)["messages"], 1)
	require.Equal(t, map[string]any{"de": map[string]any{"title": "Du"}}, again.inApp("ada")[0].(map[string]any)["customPayload"].(map[string]any)["variants"])
	again.crash() // once more, now with what waits in the snapshot

	last := start(t, kept(path), func(c *Config) { c.Clock = h.clock.Now })
	require.Equal(t, before, last.customer("ada"))
	h.clock.advance(time.Second)
	view := last.customer("ada")
	require.Equal(t, "unsubscribed", view.CRM.EmailMarketing)
	require.Equal(t, []deviceView{{"t1", false}}, view.Push.Devices)
	require.Equal(t, "granted", view.CMP.Purposes["email-marketing"])
	require.Equal(t, 201, last.createUser("grace", "t9").status)
	require.Equal(t, 200, last.createUser("ada").status, "the alias index is there again")
}

func TestFaultsAndLogAreNotKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	h := start(t, kept(path))
	h.fault(`{"target":"crm","kind":"status","times":0}`)
	h.braze("POST", "/users/track", subscribe("ada"))
	require.NoError(t, h.sandbox.Close())
	again := start(t, kept(path))
	require.Empty(t, again.requests(""))
	require.Equal(t, 201, again.braze("POST", "/users/track", subscribe("ada")).status)
}

func TestHalfALineIsDropped(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	h := start(t, kept(path))
	h.put("ada", `{"crm":{"email_marketing":"subscribed"}}`)
	require.NoError(t, h.sandbox.Close())
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteString(`[{"kind":"crm.delete","target":"crm","ch`)
	require.NoError(t, err)
	require.NoError(t, file.Close())

	again := start(t, kept(path))
	require.Equal(t, "subscribed", again.email("ada"))
	again.put("grace", `{"crm":{"email_marketing":"subscribed"}}`)
	require.NoError(t, again.sandbox.Close())
	require.Equal(t, "subscribed", start(t, kept(path)).email("grace"))
}

func TestDamageIsReportedNotIgnored(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"nonsense\n", "{}\n", `{"snapshot":{}}` + "\n[{}]\n", `{"snapshot":{}}` + "\n{\n"} {
		path := filepath.Join(t.TempDir(), "state")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		cfg := DefaultConfig()
		cfg.StatePath = path
		_, err := New(cfg)
		require.ErrorContains(t, err, "line", content)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(after), "what cannot be read is left alone")
	}
}

func TestOneSandboxPerState(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	h := start(t, kept(path))
	_, err := New(h.sandbox.cfg)
	require.ErrorContains(t, err, "in use")
	require.NoError(t, h.sandbox.Close())
	start(t, kept(path))
}

func TestAWriteThatCannotBeKeptIsRefused(t *testing.T) {
	t.Parallel()
	h := start(t, kept(filepath.Join(t.TempDir(), "state")))
	h.crash()
	require.Equal(t, 500, h.braze("POST", "/users/track", subscribe("ada")).status)
	require.Equal(t, 503, h.createUser("ada").status)
	require.Equal(t, 500, h.receipt("ada", pushPurpose, "CONFIRMED").status)
	require.Equal(t, 503, h.do("PUT", "/_sandbox/customers/ada", `{"crm":{"email_marketing":"subscribed"}}`).status)
	require.Equal(t, nobody, h.do("GET", "/_sandbox/customers/ada", "").body)
}

// fullDisk writes half of what it gets, as a disk that runs full does.
type fullDisk struct{ journalFile }

func (d fullDisk) Write(line []byte) (int, error) {
	n, err := d.journalFile.Write(line[:len(line)/2])
	return n, errors.Join(err, syscall.ENOSPC)
}

func TestHalfAWriteLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	h := start(t, kept(path))
	file := h.sandbox.journal.file
	h.sandbox.journal.file = fullDisk{file}
	require.Equal(t, 500, h.braze("POST", "/users/track", subscribe("ada")).status)
	h.sandbox.journal.file = file
	require.Equal(t, 201, h.braze("POST", "/users/track", subscribe("grace")).status)
	h.crash()
	again := start(t, kept(path))
	require.Equal(t, "unknown", again.email("ada"))
	require.Equal(t, "subscribed", again.email("grace"))
}

func TestAShorterDelayDoesNotOvertake(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	h := start(t, kept(path), delayed(time.Minute))
	h.braze("POST", "/users/track", subscribe("ada"))
	h.crash()
	again := start(t, kept(path), func(c *Config) { c.Clock = h.clock.Now })
	again.braze("POST", "/users/track", `{"attributes":[{"external_id":"ada","email_subscribe":"unsubscribed"}]}`)
	require.Equal(t, "unknown", again.email("ada"))
	h.clock.advance(time.Minute)
	require.Equal(t, "unsubscribed", again.email("ada"))
}

func TestAClockThatGoesBackDoesNotDelayWhatWasSeen(t *testing.T) {
	t.Parallel()
	h := start(t, delayed(time.Second))
	h.clock.advance(time.Hour)
	require.Equal(t, "unknown", h.email("ada"))
	h.clock.advance(-time.Hour)
	h.receipt("ada", pushPurpose, "CONFIRMED")
	receiptAt := h.sandbox.state.Pending[0].At
	require.Equal(t, h.clock.Now().Add(time.Hour), receiptAt)
}

func TestCompactionKeepsTheState(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	h := start(t, kept(path), delayed(time.Second))
	h.put("ada", `{"crm":{"email_marketing":"subscribed"}}`)
	h.braze("POST", "/users/track", subscribe("grace"))
	h.sandbox.mu.Lock()
	require.NoError(t, h.sandbox.journal.compact(h.sandbox.state))
	h.sandbox.mu.Unlock()
	h.put("ada", `{"crm":{"email_marketing":"unsubscribed"}}`)
	h.crash()
	h.clock.advance(time.Second)
	again := start(t, kept(path), func(c *Config) { c.Clock = h.clock.Now })
	require.Equal(t, "unsubscribed", again.email("ada"))
	require.Equal(t, "subscribed", again.email("grace"))
}

// Opening the journal must come to exactly the state that was left, whatever the order of calls, delays and looks.
func TestReplayComesToTheSameState(t *testing.T) {
	t.Parallel()
	dir, run := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		clock := newClock()
		cfg := DefaultConfig()
		cfg.StatePath, cfg.Clock, cfg.ApplyDelay = filepath.Join(dir, fmt.Sprint(run)), clock.Now, time.Second
		s, err := New(cfg)
		require.NoError(rt, err)
		people, tokens := rapid.SampledFrom([]string{"ada", "grace"}), rapid.SampledFrom([]string{"t1", "t2", "t3"})
		choices := rapid.SampledFrom([]string{brazeSubscribed, brazeUnsubscribed})
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			who, token, choice := people.Draw(rt, "who"), tokens.Draw(rt, "token"), choices.Draw(rt, "choice")
			s.update(func(tx *writer) reply {
				userID, subID := derivedID(who), derivedID(token)
				changes := []*effect{
					tx.async(targetCRM, []string{who}, &brazeAttributes{ExternalID: who, EmailSubscribe: choice}),
					tx.async(targetCRM, []string{who}, &brazeGroupChange{GroupID: newsGroup, State: choice, ExternalIDs: []string{who}}),
					tx.async(targetCRM, []string{who}, &brazeDeletion{[]string{who}}),
					tx.sync(targetCRM, []string{who}, &brazeSet{ExternalID: who, Groups: map[string]string{promotionsGroup: choice}}),
					tx.sync(targetPush, []string{userID}, &oneSignalUpsert{
						UserID: userID, Aliases: map[string]string{aliasExternalID: who},
						Subscriptions: []oneSignalSpec{{Type: "iOSPush", Token: token}}, SubscriptionIDs: []string{subID},
					}),
					tx.async(targetPush, []string{userID}, &oneSignalSubscriptionDeletion{subID}),
					tx.async(targetCMP, []string{who}, &oneTrustRecording{who, oneTrustReceipt{
						ID: token, At: tx.now, Purposes: []oneTrustReceiptedItem{{ID: pushPurpose, Type: "CONFIRMED"}},
					}}),
				}
				require.NoError(rt, tx.write(changes[rapid.IntRange(0, len(changes)-1).Draw(rt, "change")]))
				return reply{}
			})
			clock.advance(time.Duration(rapid.IntRange(0, 700).Draw(rt, "ms")) * time.Millisecond)
			if rapid.Bool().Draw(rt, "look") {
				s.view(func(*state) {})
			}
		}
		s.view(func(*state) {})
		left, err := json.Marshal(s.state)
		require.NoError(rt, err)
		require.NoError(rt, s.Close())
		again, err := New(cfg)
		require.NoError(rt, err)
		again.view(func(*state) {})
		found, err := json.Marshal(again.state)
		require.NoError(rt, err)
		require.JSONEq(rt, string(left), string(found))
		require.NoError(rt, again.Close())
	})
}
