package inbox_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	"accord/domain/inbox"
)

func TestAMessageIDComesBackFromItsText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := inbox.MessageID(rapid.Int64Range(1, math.MaxInt64).Draw(t, "id"))
		back, err := inbox.ParseMessageID(id.String())
		require.NoError(t, err)
		require.Equal(t, id, back)
	})
}

func TestNothingElseIsAMessageID(t *testing.T) {
	t.Parallel()
	good := inbox.MessageID(7).String()
	for _, s := range []string{"", "msg_", "7", good[:len(good)-1], good + "0", "MSG_" + good[4:], inbox.MessageID(0).String(), inbox.MessageID(-1).String(),
		good[:len(good)-1] + "z"} {
		_, err := inbox.ParseMessageID(s)
		require.Equal(t, fault.NotFound, fault.KindOf(err), s)
	}
}

func FuzzMessageID(f *testing.F) {
	f.Add(inbox.MessageID(1).String())
	f.Add("msg_0000000000000")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := inbox.ParseMessageID(s); err == nil && id.String() != s {
			t.Fatalf("%q and %q are the same message", s, id)
		}
	})
}

func TestAVersionComesBackFromItsText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := inbox.Version{Own: rapid.Int64Range(0, math.MaxInt64).Draw(t, "own"), Global: rapid.Int64Range(0, math.MaxInt64).Draw(t, "global")}
		back, err := inbox.ParseVersion("since", v.String())
		require.NoError(t, err)
		require.Equal(t, v, back)
	})
	for _, s := range []string{"", "1", "1.", ".1", "1.2.3", "-1.2", "+1.2", "01.2", "1.2 ", "9223372036854775808.1", "1.x"} {
		_, err := inbox.ParseVersion("since", s)
		requireField(t, err, "since", "invalid_version")
	}
}

func FuzzVersion(f *testing.F) {
	f.Add("12.34")
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := inbox.ParseVersion("since", s); err == nil && v.String() != s {
			t.Fatalf("%q and %q are the same version", s, v)
		}
	})
}

func TestAViewerIsACustomerOrAnInstallation(t *testing.T) {
	t.Parallel()
	i, err := inbox.ParseInstallationID("0B7E57A0-0000-4000-8000-00000000000A")
	require.NoError(t, err)
	require.Equal(t, "i:0b7e57a0-0000-4000-8000-00000000000a", inbox.InstallationViewer(i).Key())
	require.Equal(t, "c:ada", inbox.Viewer{Customer: "ada", Installation: i}.Key(), "who is signed in is all that counts")
	require.True(t, inbox.Viewer{}.Anonymous())
	require.Empty(t, inbox.Viewer{}.Key())
	_, err = inbox.ParseInstallationID("ada")
	requireField(t, err, "installation_id", "invalid_id")
}

// FuzzInstallationID: one installation has one name, whatever the case it is written in.
func FuzzInstallationID(f *testing.F) {
	f.Add("0B7E57A0-0000-4000-8000-00000000000A")
	f.Add("0b7e57a0-0000-4000-8000-00000000000a\n")
	f.Add("{0b7e57a0-0000-4000-8000-00000000000a}")
	f.Add("0b7e57a0-0000-4000-8000-0000000000\u212a0")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := inbox.ParseInstallationID(s)
		if err != nil {
			requireField(t, err, "installation_id", "invalid_id")
			return
		}
		require.Len(t, s, 36)
		require.True(t, strings.EqualFold(s, string(id)))
		again, err := inbox.ParseInstallationID(string(id))
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}
