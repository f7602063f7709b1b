package temporal_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/workflow"
)

// FuzzPayload: what claims to be encrypted is what a key of ours has encrypted, or an error; a panic, in workflow code, and
// there alone. What does not claim it is left to the SDK, as it was before there was a key.
func FuzzPayload(f *testing.F) {
	c := encryption(f, key("new", 1), key("old", 2))
	sealed, err := c.ToPayload(note{marker})
	require.NoError(f, err)
	f.Add("binary/encrypted", "new", "AES-256-GCM", sealed.GetData())
	f.Add("binary/encrypted", "old", "AES-256-GCM", sealed.GetData())
	f.Add("binary/encrypted", "new", "", sealed.GetData()[:20])
	f.Add("binary/encrypted", "", "", []byte{})
	f.Add("json/plain", "", "", []byte(`{"text":"x"}`))
	f.Add("json/protobuf", "", "", []byte(`{}`))
	f.Add("binary/null", "", "", []byte{})
	inside := c.(workflow.ContextAware).WithWorkflowContext(nil)
	f.Fuzz(func(t *testing.T, encoding, id, cipher string, data []byte) {
		p := &commonpb.Payload{Data: data, Metadata: map[string][]byte{"encoding": []byte(encoding), "encryption-key-id": []byte(id), "encryption-cipher": []byte(cipher)}}
		var got note
		err := c.FromPayload(p, &got)
		_ = c.ToString(p)
		if encoding != "binary/encrypted" {
			return
		}
		if err == nil {
			require.Equal(t, marker, got.Text)
			require.Equal(t, "new", id)
			return
		}
		require.Empty(t, got.Text)
		require.Panics(t, func() { _ = inside.FromPayload(p, &got) })
	})
}
