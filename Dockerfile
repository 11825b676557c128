# syntax=docker/dockerfile:1
#
# The server's image: the executable, the libraries that it is linked to, the certificates of the public authorities, and
# nothing else: no shell, no package manager. It runs as a user without a name, on a root that may be read-only; only
# /data, the data directory, is written.
#
#   docker build -t shoal .
#   docker run --read-only -p 8080:8080 -v shoal:/data shoal
#
# scripts/image-check makes the same root without Docker, and runs the executable in it.

FROM rust:1.95-bookworm AS build
# Nothing that is fetched goes into the image but by Cargo.lock. The C libraries in it (SQLite, jemalloc) want a compiler
# and make, which this image has.
#
# jemalloc is made for one size of page. Kernels for 64-bit ARM have 4, 16 or 64 KiB, and the largest serves all.
ENV AARCH64_UNKNOWN_LINUX_GNU_JEMALLOC_SYS_WITH_LG_PAGE=16
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --bin shoal \
    && docker/image-root target/release/shoal /image /image-data

FROM scratch
COPY --from=build /image /
# Empty, and the user's: a volume that is mounted over it for the first time becomes so, too. It isn't in the root above,
# since --chown gives an owner only to a directory that COPY makes, never to one that is there.
COPY --from=build --chown=65532:65532 /image-data /data
ENV SHOAL_DATA_DIR=/data \
    SHOAL_LOG_FORMAT=json \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /data
USER 65532:65532
EXPOSE 8080
VOLUME ["/data"]
# The server answers on its control socket whatever has become of Redis and MongoDB: this is about the process.
HEALTHCHECK --interval=15s --timeout=20s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/shoal", "status"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/shoal"]
CMD ["serve"]
