package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"gorm.io/gorm"

	"accord/domain/engagement"
	"accord/domain/preference"
)

// settleSlack is how much later than its settled_at an operation may show: the transaction takes a while, and clocks
// differ a little. What shows even later is found by CheckCustomers.
const settleSlack = `interval '1 minute'`

// CountChanges implements ports.EngagementStore. Whoever counts holds the row of engagement_progress, so nobody else
// counts at the same time; what is counted of a customer is stored with the number of the operation, so nothing is
// counted twice, however often the same minute is looked at.
func (db *DB) CountChanges(ctx context.Context, limit int) (counted int64, asOf time.Time, done bool, err error) {
	err = db.inTx(ctx, func(tx *gorm.DB) error {
		var until, now time.Time
		found, err := queryOne(tx, []any{&until, &now}, `SELECT settled_until, clock_timestamp() FROM engagement_progress FOR UPDATE`)
		if err != nil || !found {
			return noProgress(err)
		}
		var due []string
		var last time.Time
		seen, known := 0, map[string]bool{}
		err = query(tx, func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id, &last)
			if seen++; !known[id] {
				known[id] = true
				due = append(due, id)
			}
			return err
		}, `SELECT o.customer_id, o.settled_at FROM operations o LEFT JOIN engagement_customers e ON e.customer_id = o.customer_id
			WHERE o.status = 'applied' AND o.settled_at >= ?::timestamptz - `+settleSlack+` AND o.number > coalesce(e.number, 0)
			ORDER BY o.settled_at LIMIT ?`, until.UTC(), limit)
		if err != nil {
			return err
		}
		if counted, err = db.countCustomers(tx, due); err != nil {
			return err
		}
		asOf, done = now, seen < limit
		if !done && last.Before(now) {
			asOf = last
		}
		asOf = asOf.UTC()
		// Never backwards: a clock that was set back, or a change that was late, must not make much be looked at again.
		return tx.Exec(`UPDATE engagement_progress SET settled_until = greatest(settled_until, ?)`, asOf).Error
	})
	return counted, asOf, done, translate("count changes", err)
}

func noProgress(err error) error {
	if err == nil {
		return fmt.Errorf("the row of engagement_progress is not there")
	}
	return err
}

// CheckCustomers implements ports.EngagementStore.
func (db *DB) CheckCustomers(ctx context.Context, limit int) (repaired int64, err error) {
	err = db.inTx(ctx, func(tx *gorm.DB) error {
		var after string
		found, err := queryOne(tx, []any{&after}, `SELECT checked_until FROM engagement_progress FOR UPDATE`)
		if err != nil || !found {
			return noProgress(err)
		}
		var differ []string
		upTo, seen := "", 0
		// Customers who are gone are still counted, so a page is of both.
		err = query(tx, func(rows *sql.Rows) error {
			var same bool
			seen++
			err := rows.Scan(&upTo, &same)
			if !same {
				differ = append(differ, upTo)
			}
			return err
		}, `SELECT coalesce(c.id, e.customer_id), coalesce(c.version, -1) = coalesce(e.version, 0)
			FROM (SELECT id, version FROM customers WHERE id > ? ORDER BY id LIMIT ?) c
			FULL JOIN (SELECT customer_id, version FROM engagement_customers WHERE customer_id > ? ORDER BY customer_id LIMIT ?) e ON e.customer_id = c.id
			ORDER BY 1 LIMIT ?`, after, limit, after, limit, limit)
		if err != nil {
			return err
		}
		if _, err := db.countCustomers(tx, differ); err != nil {
			return err
		}
		repaired = int64(len(differ))
		if seen < limit {
			upTo = "" // the next round
		}
		return tx.Exec(`UPDATE engagement_progress SET checked_until = ?`, upTo).Error
	})
	return repaired, translate("check customers", err)
}

// chapter of a customer's life: preferences that an operation made, or, without a number, those that hold now.
type chapter struct {
	customer   string
	number     sql.NullInt64
	at         sql.NullTime
	state      []byte
	version    int64
	countedTo  int64
	countedFor []byte // null when nothing is counted of the customer yet
}

// tally is what is counted of one customer after each chapter.
type tally struct {
	Customer string   `json:"customer"`
	Number   int64    `json:"number"`
	Version  int64    `json:"version"`
	Words    []string `json:"words"`
	Gone     bool     `json:"gone"`
	reach    engagement.Reach
}

type factKey struct {
	Day     string          `json:"day"`
	Kind    engagement.Kind `json:"kind"`
	Channel string          `json:"channel"`
}

// countCustomers counts everything about these customers that is not counted yet, in the order in which it was applied.
// The statement sees one moment, in which a customer's preferences are those that the last applied operation made, unless
// they came by another way. The caller holds the row of engagement_progress.
func (db *DB) countCustomers(tx *gorm.DB, customers []string) (changes int64, err error) {
	if len(customers) == 0 {
		return 0, nil
	}
	ids, err := encode(customers)
	if err != nil {
		return 0, err
	}
	var order []*tally
	tallies, facts := map[string]*tally{}, map[factKey]int64{}
	err = query(tx, func(rows *sql.Rows) error {
		var c chapter
		if err := rows.Scan(&c.customer, &c.number, &c.at, &c.state, &c.version, &c.countedTo, &c.countedFor); err != nil {
			return err
		}
		t, begun := tallies[c.customer]
		if !begun {
			if t, err = c.begin(); err != nil {
				return err
			}
			tallies[c.customer] = t
			order = append(order, t)
		}
		counted, err := t.goOn(c, db.catalogue, facts)
		if counted {
			changes++
		}
		return err
	}, `WITH asked AS (
		  SELECT id, coalesce(e.number, 0) AS counted_to, e.reach AS counted_for
		  FROM jsonb_array_elements_text(?::jsonb) AS id LEFT JOIN engagement_customers e ON e.customer_id = id
		)
		SELECT a.id, o.number, o.settled_at, o.after, (o.after->>'version')::bigint, a.counted_to, a.counted_for
		FROM asked a JOIN operations o ON o.customer_id = a.id AND o.number > a.counted_to WHERE o.status = 'applied'
		UNION ALL
		SELECT a.id, NULL, coalesce(c.updated_at, now()), c.state, coalesce(c.version, 0), a.counted_to, a.counted_for
		FROM asked a LEFT JOIN customers c ON c.id = a.id
		ORDER BY 1, 2 NULLS LAST`, ids)
	if err != nil {
		return 0, err
	}
	return changes, saveTallies(tx, order, facts)
}

func (c chapter) begin() (*tally, error) {
	t := &tally{Customer: c.customer, Number: c.countedTo}
	if c.countedFor == nil {
		return t, nil
	}
	var words []string
	if err := json.Unmarshal(c.countedFor, &words); err != nil {
		return nil, fmt.Errorf("decode what is counted of a customer: %w", err)
	}
	t.reach = engagement.KnownReach(words)
	return t, nil
}

// goOn counts the difference that a chapter makes.
func (t *tally) goOn(c chapter, catalogue *preference.Catalogue, facts map[factKey]int64) (counted bool, err error) {
	now := !c.number.Valid
	if now && c.version == 0 { // nothing was ever applied, or the customer is gone
		t.count(c.at.Time, engagement.Reach{}, facts)
		t.Gone = true
		return false, nil
	}
	if now && c.version == t.Version {
		return false, nil
	}
	var snapshot preference.Snapshot
	if err := json.Unmarshal(c.state, &snapshot); err != nil {
		return false, fmt.Errorf("decode preferences of a customer: %w", err)
	}
	if !now {
		t.Number = c.number.Int64
	}
	t.Version = c.version
	t.count(c.at.Time, engagement.ReachOf(preference.Restore(preference.CustomerID(c.customer), snapshot, catalogue)), facts)
	return !now, nil
}

func (t *tally) count(at time.Time, next engagement.Reach, facts map[factKey]int64) {
	for _, step := range t.reach.StepsTo(next) {
		facts[factKey{at.UTC().Format(time.DateOnly), step.Kind, step.Channel}] += step.Count
	}
	t.reach, t.Words = next, next.Words()
}

// saveTallies stores what is counted now, and the facts, in one statement.
func saveTallies(tx *gorm.DB, tallies []*tally, facts map[factKey]int64) error {
	type fact struct {
		factKey
		Count int64 `json:"count"`
	}
	rows := []fact{}
	for key, n := range facts {
		if n != 0 {
			rows = append(rows, fact{key, n})
		}
	}
	stored, err := encode(tallies)
	if err != nil {
		return err
	}
	counted, err := encode(rows)
	if err != nil {
		return err
	}
	return tx.Exec(`WITH t AS (
		  SELECT * FROM jsonb_to_recordset(?::jsonb) AS t (customer text, number bigint, version bigint, words jsonb, gone boolean)
		), kept AS (
		  INSERT INTO engagement_customers (customer_id, number, version, reach)
		  SELECT customer, number, version, words FROM t WHERE NOT gone
		  ON CONFLICT (customer_id) DO UPDATE SET number = excluded.number, version = excluded.version, reach = excluded.reach
		), gone AS (
		  DELETE FROM engagement_customers WHERE customer_id IN (SELECT customer FROM t WHERE gone)
		)
		INSERT INTO engagement_facts (day, kind, campaign, category, channel, count)
		SELECT day, kind, '', '', channel, count FROM jsonb_to_recordset(?::jsonb) AS f (day date, kind text, channel text, count bigint)`,
		stored, counted).Error
}
