package postgres

import (
	"context"
	"database/sql"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

var _ ports.PersonalData = (*DB)(nil)

// OperationsOf implements ports.PersonalData.
func (db *DB) OperationsOf(ctx context.Context, customer preference.CustomerID, after int64, limit int) ([]ports.OperationState, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []ports.OperationState
	err := query(tx, func(rows *sql.Rows) error {
		var row stateRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		state, err := row.state()
		out = append(out, state)
		return err
	}, `SELECT `+operationColumns+`, `+progressColumn+` FROM operations o
		WHERE o.customer_id = ? AND o.number > ? ORDER BY o.number LIMIT ?`, string(customer), after, limit)
	return out, translate("list a customer's operations", err)
}

// ActivityOf implements ports.PersonalData. Of a conversion only that it happened is known.
func (db *DB) ActivityOf(ctx context.Context, viewer inbox.Viewer) ([]ports.ClientActivity, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var out []ports.ClientActivity
	err := query(tx, func(rows *sql.Rows) error {
		var a ports.ClientActivity
		var message sql.NullInt64
		var at sql.NullTime
		err := rows.Scan(&a.Kind, &a.ID, &message, &at)
		if a.At = moment(at); message.Valid {
			a.ID = inbox.MessageID(message.Int64).String()
		}
		out = append(out, a)
		return err
	}, `SELECT 'client_event', event_id, NULL::bigint, at FROM client_events WHERE viewer = ?
		UNION ALL SELECT kind, '', NULL, day::timestamptz FROM engagement_presence WHERE viewer = ?
		UNION ALL SELECT 'link_conversion', '', message_id, NULL FROM link_conversions WHERE viewer = ?
		ORDER BY 4 NULLS LAST, 1, 2, 3`, viewer.Key(), viewer.Key(), viewer.Key())
	return out, translate("list a viewer's activity", err)
}
