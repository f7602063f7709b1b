package postgres

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"gorm.io/gorm"

	"accord/domain/preference"
	"accord/ports"
)

var _ ports.ReconciliationStore = (*DB)(nil)

// CollectDue implements ports.ReconciliationStore. It looks back as far as an operation may show late (settleSlack), and what it
// finds again is due already: the times are those of the operation.
func (db *DB) CollectDue(ctx context.Context, after ...time.Duration) error {
	err := db.inTx(ctx, func(tx *gorm.DB) error {
		var until, now time.Time
		found, err := queryOne(tx, []any{&until, &now}, `SELECT settled_until, clock_timestamp() FROM reconciliation_progress FOR UPDATE`)
		if err != nil || !found {
			return noProgress(err)
		}
		for _, pause := range after {
			// One that was checked already would be due again without end: those of the past are over.
			if err := tx.Exec(`INSERT INTO reconciliation_due (customer_id, due_at)
				SELECT DISTINCT o.customer_id, o.settled_at + ?::interval FROM operations o
				WHERE o.status IN ('applied', 'compensated') AND o.settled_at >= ?::timestamptz - `+settleSlack+`
				AND (o.settled_at >= ?::timestamptz OR o.settled_at + ?::interval > clock_timestamp())
				ON CONFLICT DO NOTHING`, interval(pause), until.UTC(), until.UTC(), interval(pause)).Error; err != nil {
				return err
			}
		}
		return tx.Exec(`UPDATE reconciliation_progress SET settled_until = greatest(settled_until, ?)`, now.UTC()).Error
	})
	return translate("collect who is due", err)
}

func interval(d time.Duration) string {
	return strconv.FormatInt(d.Microseconds(), 10) + " microseconds"
}

// AskFor implements ports.ReconciliationStore.
func (db *DB) AskFor(ctx context.Context, customers []preference.CustomerID) error {
	ids, err := encode(customers)
	if err != nil {
		return err
	}
	err = db.inTx(ctx, func(tx *gorm.DB) error {
		return tx.Exec(`INSERT INTO reconciliation_due (customer_id, due_at)
			SELECT c.id, clock_timestamp() FROM customers c WHERE c.id IN (SELECT jsonb_array_elements_text(?::jsonb))
			ON CONFLICT DO NOTHING`, ids).Error
	})
	return translate("ask for customers", err)
}

// DueChecks implements ports.ReconciliationStore.
func (db *DB) DueChecks(ctx context.Context, limit int) ([]ports.DueCheck, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []ports.DueCheck
	err := query(tx, func(rows *sql.Rows) error {
		var d ports.DueCheck
		err := rows.Scan(&d.Customer, &d.At)
		out = append(out, d)
		return err
	}, `SELECT customer_id, max(due_at) FROM (SELECT customer_id, due_at FROM reconciliation_due WHERE due_at <= clock_timestamp()
		ORDER BY due_at LIMIT ?) d GROUP BY customer_id ORDER BY min(due_at)`, limit)
	return out, translate("list who is due", err)
}

// EndChecks implements ports.ReconciliationStore. A check ends everything that was due up to when it was listed.
func (db *DB) EndChecks(ctx context.Context, done, postponed []ports.DueCheck, pause time.Duration) error {
	err := db.inTx(ctx, func(tx *gorm.DB) error {
		for _, d := range append(append([]ports.DueCheck{}, done...), postponed...) {
			if err := tx.Exec(`DELETE FROM reconciliation_due WHERE customer_id = ? AND due_at <= ?`, string(d.Customer), d.At.UTC()).Error; err != nil {
				return err
			}
		}
		for _, d := range postponed {
			if err := tx.Exec(`INSERT INTO reconciliation_due (customer_id, due_at) VALUES (?, clock_timestamp() + ?::interval) ON CONFLICT DO NOTHING`,
				string(d.Customer), interval(pause)).Error; err != nil {
				return err
			}
		}
		return nil
	})
	return translate("end checks", err)
}

// NextInRound implements ports.ReconciliationStore.
func (db *DB) NextInRound(ctx context.Context, window time.Duration, limit int) (customers []preference.CustomerID, ended bool, err error) {
	err = db.inTx(ctx, func(tx *gorm.DB) error {
		var after string
		var open, due bool // a round is open from its beginning to its end, also before it has come anywhere
		found, err := queryOne(tx, []any{&after, &open, &due}, `SELECT round_after, coalesce(round_ended < round_began, round_began IS NOT NULL),
			coalesce(round_began + ?::interval <= clock_timestamp(), true) FROM reconciliation_progress FOR UPDATE`, interval(window))
		if err != nil || !found {
			return noProgress(err)
		}
		if !open && !due {
			return nil
		}
		if !open {
			if err := tx.Exec(`UPDATE reconciliation_progress SET round_began = clock_timestamp()`).Error; err != nil {
				return err
			}
		}
		customers = nil
		err = query(tx, func(rows *sql.Rows) error {
			var id preference.CustomerID
			err := rows.Scan(&id)
			customers = append(customers, id)
			return err
		}, `SELECT id FROM customers WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
		ended = len(customers) < limit
		return err
	})
	return customers, ended, translate("go on with the round", err)
}

// AdvanceRound implements ports.ReconciliationStore.
func (db *DB) AdvanceRound(ctx context.Context, upTo preference.CustomerID, ended bool) error {
	err := db.inTx(ctx, func(tx *gorm.DB) error {
		if ended {
			return tx.Exec(`UPDATE reconciliation_progress SET round_after = '', round_ended = clock_timestamp()`).Error
		}
		return tx.Exec(`UPDATE reconciliation_progress SET round_after = greatest(round_after, ?)`, string(upTo)).Error
	})
	return translate("record how far the round is", err)
}

// RoundAge implements ports.ReconciliationStore.
func (db *DB) RoundAge(ctx context.Context) (time.Duration, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var seconds sql.NullFloat64
	_, err := queryOne(tx, []any{&seconds}, `SELECT extract(epoch FROM clock_timestamp() - coalesce(round_ended, round_began))::float8 FROM reconciliation_progress`)
	return time.Duration(seconds.Float64 * float64(time.Second)), translate("read how old the round is", err)
}
