package ports

import "context"

type aboutKey struct{}

// About marks what happens under ctx as concerning an operation, so that whatever is logged or traced there names it.
func About(ctx context.Context, operation string) context.Context {
	if operation == "" {
		return ctx
	}
	return context.WithValue(ctx, aboutKey{}, operation)
}

// Concerning is the operation that About was told, empty for none.
func Concerning(ctx context.Context) string {
	operation, _ := ctx.Value(aboutKey{}).(string)
	return operation
}
