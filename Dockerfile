# nfs-fuse in a container. Build:  docker build -t nfs-fuse .      (or podman)
# Run, with the mount seen by the container's own processes:
#   podman run --rm --device /dev/fuse --cap-add SYS_ADMIN nfs-fuse mount -f server:/export /mnt
# Any image with Node 20.19 or newer can take the place of the base:  --build-arg BASE=registry/image:tag
ARG BASE=node:20-bookworm-slim

FROM ${BASE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY bin ./bin
COPY lib ./lib
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM ${BASE}
WORKDIR /opt/nfs-fuse
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/dist ./dist
RUN ln -s /opt/nfs-fuse/dist/bin/nfs-fuse.js /usr/local/bin/nfs-fuse && mkdir -p /mnt
# Unmounts and flushes on SIGTERM, which `docker stop` and `podman stop` send.
STOPSIGNAL SIGTERM
# A mount that hangs, or has lost its server, is unhealthy; --no-healthcheck where the container mounts nothing.
HEALTHCHECK --interval=30s --timeout=15s --start-period=30s --retries=3 \
  CMD nfs-fuse check --mount "${NFS_FUSE_MOUNTPOINT:-/mnt}"
ENTRYPOINT ["nfs-fuse"]
CMD ["--help"]
