package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"accord/adapters/checkpoint"
	"accord/adapters/postgres"
	"accord/app/config"
	"accord/domain/consent"
	"accord/ports"
)

// errTampered makes the command's exit status tell.
var errTampered = errors.New("the ledger was tampered with")

// AuditOptions say what `accord audit verify` checks.
type AuditOptions struct {
	Only        string   // a customer, or the name of a chain; empty for all of them
	Checkpoints string   // folder with copies of checkpoints that were kept outside; empty for none
	Keys        []string // public keys of checkpoints that are trusted, beside the configuration's
}

// AuditVerify checks every chain of the ledger and every checkpoint, or one chain. It prints what is wrong.
// Without ACCORD_DATABASE_URL it is the development stack's database.
func AuditVerify(ctx context.Context, cfg config.Config, log *slog.Logger, o AuditOptions, out io.Writer) error {
	cfg = joinDev(cfg)
	if err := cfg.Validate(config.NeedDatabase); err != nil {
		return err
	}
	db, err := openLedger(ctx, cfg, log)
	if err != nil {
		return err
	}
	r := &auditReport{out: out}
	err = r.verify(ctx, db, cfg, o)
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if r.findings > 0 {
		return errTampered
	}
	return nil
}

// AuditProof checks a proof in a file, without a database, and says what it proves.
func AuditProof(cfg config.Config, file string, keys []string, out io.Writer) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	proved, err := checkpoint.Check(raw, slices.Concat(keys, cfg.CheckpointVerifiers)...)
	if err != nil {
		return err
	}
	for _, sentence := range proved.Sentences() {
		fmt.Fprintln(out, sentence)
	}
	if len(proved.Problems) > 0 {
		return errProof
	}
	return nil
}

var errProof = errors.New("the proof does not hold")

type auditReport struct {
	out      io.Writer
	findings int
}

func (r *auditReport) say(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

func (r *auditReport) found(f consent.Finding) {
	r.findings++
	r.say("%s", f)
}

func (r *auditReport) verify(ctx context.Context, db *postgres.DB, cfg config.Config, o AuditOptions) error {
	v, err := db.Verify(ctx, o.Only, r.found)
	if err != nil {
		return err
	}
	if o.Only != "" && v.Chains == 0 && r.findings == 0 {
		return fmt.Errorf("there is no ledger of %q", o.Only)
	}
	if o.Only == "" {
		if err := r.seals(ctx, db, cfg, o); err != nil {
			return err
		}
	}
	if v.Closed > 0 {
		r.say("%d entries were held against their hashes alone: what they are sealed under is not in ACCORD_LEDGER_KEYS", v.Closed)
	}
	r.say("%d entries in %d chains (%d of them erased), %d findings", v.Entries, v.Chains, v.Erased, r.findings)
	return nil
}

// seals checks the log: every stored checkpoint's signature, copies that were kept outside, and that all of them fit what
// the log and the ledger hold now.
func (r *auditReport) seals(ctx context.Context, db *postgres.DB, cfg config.Config, o AuditOptions) error {
	stored, err := allCheckpoints(ctx, db)
	if err != nil {
		return err
	}
	trusted, err := trustedKeys(cfg, o.Keys)
	if err != nil {
		return err
	}
	if len(trusted) == 0 && len(stored) > 0 {
		r.say("no public key is given (--key, ACCORD_CHECKPOINT_VERIFIERS): signatures are verified by what the database says, which proves little")
		for _, c := range stored {
			trusted = append(trusted, c.Verifier)
		}
		slices.Sort(trusted)
		trusted = slices.Compact(trusted)
	}
	verifiers, err := checkpoint.NewVerifiers(trusted...)
	if err != nil {
		return err
	}
	claims := r.stored(verifiers, stored)
	if o.Checkpoints != "" {
		copies, err := r.copies(verifiers, o.Checkpoints)
		if err != nil {
			return err
		}
		claims = append(claims, copies...)
	}
	leaves, err := db.VerifySeals(ctx, claims, r.found)
	if err == nil {
		r.say("%d checkpoints over %d sealed ends of chains; %d copies from outside", len(stored), leaves, len(claims)-len(stored))
	}
	return err
}

func allCheckpoints(ctx context.Context, db ports.Seals) (all []ports.SealedCheckpoint, err error) {
	const page = 1000
	for after, more := int64(0), true; more; {
		part, err := db.Checkpoints(ctx, after, page)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		if more = len(part) == page; more {
			after = part[len(part)-1].Number
		}
	}
	return all, nil
}

// trustedKeys are those given, and those of the configuration.
func trustedKeys(cfg config.Config, given []string) ([]string, error) {
	keys := slices.Concat(given, cfg.CheckpointVerifiers)
	if cfg.CheckpointKey != "" {
		signer, err := checkpoint.NewSigner(cfg.CheckpointKey.Reveal())
		if err != nil {
			return nil, fmt.Errorf("ACCORD_CHECKPOINT_KEY %w", err)
		}
		keys = append(keys, signer.Verifier())
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// stored verifies what the database has. Every one is claimed, by what is signed where that can be told.
func (r *auditReport) stored(verifiers checkpoint.Verifiers, all []ports.SealedCheckpoint) (claims []ports.Claim) {
	for _, s := range all {
		where := fmt.Sprintf("checkpoint %d", s.Number)
		claim := ports.Claim{Where: where, Size: s.Size, Root: s.Root}
		c, err := verifiers.Open(s.Note)
		switch {
		case err != nil:
			r.found(consent.Finding{Problem: fmt.Sprintf("%s is not signed by a key that is trusted: %v", where, err)})
		case c.Size != s.Size || c.Root != s.Root || !c.At.Equal(s.SealedAt):
			r.found(consent.Finding{Problem: where + " was changed: its columns disagree with what is signed"})
			claim.Size, claim.Root = c.Size, c.Root
		}
		if own, err := checkpoint.NewVerifiers(s.Verifier); err != nil {
			r.found(consent.Finding{Problem: where + " was changed: its public key is none"})
		} else if _, err := own.Open(s.Note); err != nil {
			r.found(consent.Finding{Problem: where + " was changed: it is not signed by the public key beside it"})
		}
		claims = append(claims, claim)
	}
	return claims
}

// copies verifies what was kept outside.
func (r *auditReport) copies(verifiers checkpoint.Verifiers, folder string) (claims []ports.Claim, err error) {
	names, notes, err := checkpoint.Kept(folder)
	if err != nil {
		return nil, err
	}
	for i, note := range notes {
		where := "the copy " + filepath.Join(folder, names[i])
		c, err := verifiers.Open(note)
		if err != nil {
			r.found(consent.Finding{Problem: fmt.Sprintf("%s is not signed by a key that is trusted: %v", where, err)})
			continue
		}
		claims = append(claims, ports.Claim{Where: where, Size: c.Size, Root: c.Root})
	}
	return claims, nil
}

// openLedger opens the database for a command that looks at the ledger; the keys may be missing.
func openLedger(ctx context.Context, cfg config.Config, log *slog.Logger) (*postgres.DB, error) {
	catalogue, err := cfg.Catalogue()
	if err != nil {
		return nil, err
	}
	keys, err := ledgerKeys(cfg)
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, postgres.Config{URL: cfg.DatabaseURL.Reveal(), MaxConns: 4, Catalogue: catalogue, Keys: keys, Logger: log})
}
