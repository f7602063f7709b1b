package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// slowLog logs slow statements with their placeholders and never with values. Failures are returned to callers, who log
// them once. gorm's own slog logger formats every statement before it decides whether to log it, which costs more than
// the statement's round trip saves.
type slowLog struct {
	log   *slog.Logger
	after time.Duration
}

var (
	_ logger.Interface  = slowLog{}
	_ gorm.ParamsFilter = slowLog{}
)

func (l slowLog) LogMode(logger.LogLevel) logger.Interface { return l }

func (l slowLog) Info(ctx context.Context, msg string, args ...any) {
	l.log.DebugContext(ctx, "gorm", "message", fmt.Sprintf(msg, args...))
}

func (l slowLog) Warn(ctx context.Context, msg string, args ...any) {
	l.log.WarnContext(ctx, "gorm", "message", fmt.Sprintf(msg, args...))
}

func (l slowLog) Error(ctx context.Context, msg string, args ...any) {
	l.log.ErrorContext(ctx, "gorm", "message", fmt.Sprintf(msg, args...))
}

func (l slowLog) Trace(ctx context.Context, begin time.Time, statement func() (string, int64), _ error) {
	if took := time.Since(begin); took > l.after {
		text, rows := statement()
		l.log.WarnContext(ctx, "slow statement", "took", took, "rows", rows, "sql", text)
	}
}

func (l slowLog) ParamsFilter(_ context.Context, sql string, _ ...any) (string, []any) {
	return sql, nil
}
