package temporal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"
)

// Key encrypts what Temporal keeps. ID is stored beside what was encrypted and must never be used for another key.
type Key struct {
	ID     string
	Secret []byte // 32 bytes
}

// How an encrypted payload is marked. The names are Temporal's own examples', which its UI and tools show as they are.
const (
	encodingEncrypted = "binary/encrypted"
	metadataCipher    = "encryption-cipher"
	metadataKeyID     = "encryption-key-id"
	cipherName        = "AES-256-GCM"
)

// encryption is a data converter that encrypts inputs, results, signals and heartbeats, each with a nonce of its own, and
// leaves alone what people read in the Temporal UI: summaries and details, which the SDK converts as single strings (our
// inputs and results are structs), and search attributes, which never come here. What was not encrypted, before there was a
// key, is still read.
type encryption struct {
	parent  converter.DataConverter
	keys    map[string]cipher.AEAD
	current string
	mustGo  bool // in workflow code: what can't be decrypted must not end the workflow
}

// Both interfaces: without the second a worker without the key would fail the runs that it can't read.
var (
	_ converter.DataConverter = (*encryption)(nil)
	_ workflow.ContextAware   = (*encryption)(nil)
)

// NewEncryption makes the converter. The first key encrypts, every one decrypts. The caller has at least one.
func NewEncryption(keys ...Key) (converter.DataConverter, error) {
	e := &encryption{parent: converter.GetDefaultDataConverter(), keys: map[string]cipher.AEAD{}}
	for _, k := range keys {
		block, err := aes.NewCipher(k.Secret)
		if err != nil || len(k.Secret) != 32 || k.ID == "" || e.keys[k.ID] != nil {
			return nil, fmt.Errorf("the encryption key %q must have a name of its own and 32 bytes", k.ID)
		}
		if e.keys[k.ID], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
		if e.current == "" {
			e.current = k.ID
		}
	}
	if e.current == "" {
		return nil, errors.New("encryption needs a key")
	}
	return e, nil
}

// associated is authenticated with the payload, so that neither the key's name nor the cipher's can be exchanged.
func associated(id string) []byte { return []byte(cipherName + "/" + id) }

func (e *encryption) seal(p *commonpb.Payload) (*commonpb.Payload, error) {
	if p == nil || string(p.GetMetadata()[converter.MetadataEncoding]) == encodingEncrypted {
		return p, nil
	}
	plain, err := proto.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encrypt a payload: %w", err)
	}
	sealed := e.keys[e.current].Seal(nil, nil, plain, associated(e.current)) //nolint:gosec // no nonce of ours: this AEAD makes one each time
	return &commonpb.Payload{Data: sealed, Metadata: map[string][]byte{
		converter.MetadataEncoding: []byte(encodingEncrypted), metadataCipher: []byte(cipherName), metadataKeyID: []byte(e.current)}}, nil
}

func (e *encryption) open(p *commonpb.Payload) (*commonpb.Payload, error) {
	if string(p.GetMetadata()[converter.MetadataEncoding]) != encodingEncrypted {
		return p, nil
	}
	id := string(p.GetMetadata()[metadataKeyID])
	key := e.keys[id]
	if key == nil {
		return nil, e.unreadable(fmt.Errorf("a payload is encrypted with the key %q, which this process was not given", id))
	}
	plain, err := key.Open(nil, nil, p.GetData(), associated(id))
	if err != nil {
		return nil, e.unreadable(fmt.Errorf("a payload is not what the key %q has encrypted", id))
	}
	out := &commonpb.Payload{}
	if err := proto.Unmarshal(plain, out); err != nil {
		return nil, e.unreadable(fmt.Errorf("a payload that the key %q has encrypted is damaged", id))
	}
	return out, nil
}

// unreadable is a panic in workflow code: it makes the task be repeated, by a worker that has the key, where an error would
// fail the run for good.
func (e *encryption) unreadable(err error) error {
	if e.mustGo {
		panic(err)
	}
	return err
}

// ToPayload implements converter.DataConverter. A single string is a summary or details.
func (e *encryption) ToPayload(value any) (*commonpb.Payload, error) {
	p, err := e.parent.ToPayload(value)
	if _, text := value.(string); text || err != nil {
		return p, err
	}
	return e.seal(p)
}

// ToPayloads implements converter.DataConverter. Everything is encrypted.
func (e *encryption) ToPayloads(values ...any) (*commonpb.Payloads, error) {
	ps, err := e.parent.ToPayloads(values...)
	if err != nil || ps == nil {
		return ps, err
	}
	for i, p := range ps.GetPayloads() {
		if ps.Payloads[i], err = e.seal(p); err != nil {
			return nil, err
		}
	}
	return ps, nil
}

// FromPayload implements converter.DataConverter.
func (e *encryption) FromPayload(p *commonpb.Payload, dst any) error {
	plain, err := e.open(p)
	if err != nil {
		return err
	}
	return e.parent.FromPayload(plain, dst)
}

// FromPayloads implements converter.DataConverter.
func (e *encryption) FromPayloads(ps *commonpb.Payloads, dst ...any) error {
	if ps == nil {
		return nil
	}
	plain := &commonpb.Payloads{Payloads: make([]*commonpb.Payload, len(ps.GetPayloads()))}
	for i, p := range ps.GetPayloads() {
		var err error
		if plain.Payloads[i], err = e.open(p); err != nil {
			return err
		}
	}
	return e.parent.FromPayloads(plain, dst...)
}

// ToString implements converter.DataConverter.
func (e *encryption) ToString(p *commonpb.Payload) string {
	plain, err := e.open(p)
	if err != nil {
		return err.Error()
	}
	return e.parent.ToString(plain)
}

// ToStrings implements converter.DataConverter.
func (e *encryption) ToStrings(ps *commonpb.Payloads) []string {
	var out []string
	for _, p := range ps.GetPayloads() {
		out = append(out, e.ToString(p))
	}
	return out
}

// WithWorkflowContext implements workflow.ContextAware.
func (e *encryption) WithWorkflowContext(workflow.Context) converter.DataConverter {
	inside := *e
	inside.mustGo = true
	return &inside
}

// WithContext implements workflow.ContextAware.
func (e *encryption) WithContext(context.Context) converter.DataConverter { return e }
