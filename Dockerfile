# syntax=docker/dockerfile:1.7
# One image for every command: accord serve, worker, migrate, sandbox, audit verify.

FROM golang:1.26.8-bookworm AS build
ENV GOCACHE=/cache/go-build
WORKDIR /src
# The modules first: they change rarely, and this layer is kept as long as they do not.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
# What this build calls itself, in logs, metrics and as the version of its workflow workers: normally the commit.
ARG BUILD_ID=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/cache/go-build \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.buildID=${BUILD_ID}" -o /out/accord ./app

# No shell and no package manager: certificates, time zones, a user, and the program.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/accord /usr/local/bin/accord
USER nonroot:nonroot
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/accord"]
CMD ["serve"]
