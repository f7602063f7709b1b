// Package migrations holds the database's schema as numbered SQL for goose. A file that has been released is never
// changed: what comes next is another file. Changes go expand, backfill, contract across releases, because processes of
// the release before still run while a migration does.
package migrations

import "embed"

// Files are the migrations, named NNNNN_what.sql.
//
//go:embed *.sql
var Files embed.FS
