# nfs-fuse in a container. Build:  docker build -t nfs-fuse .      (or podman)
# Run, with the mount seen by the container's own processes:
#   podman run --rm --device /dev/fuse --cap-add SYS_ADMIN nfs-fuse mount -f server:/export /mnt
# Any image with Node 20.19 or newer can take the place of the base:  --build-arg BASE=registry/image:tag
# Behind a registry of your own, hand npm its configuration; it stays out of the image:
#   --secret id=npmrc,src=$HOME/.npmrc
ARG BASE=node:26-slim

# One file that runs without Node in any image with glibc and libstdc++:  podman build --target single-file -t nfs-fuse-file .
# and in the other image's own Dockerfile:  COPY --from=nfs-fuse-file /nfs-fuse /usr/local/bin/
FROM ${BASE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci --no-audit --no-fund
COPY tsconfig.json README.md ./
COPY bin ./bin
COPY lib ./lib
COPY man ./man

FROM build AS package
RUN npm run package -- --out /out/nfs-fuse

FROM scratch AS single-file
COPY --from=package /out/nfs-fuse /nfs-fuse
ENTRYPOINT ["/nfs-fuse"]

FROM build AS installed
# fuse-native stays behind: where /dev/fuse can be used at all, the default transport can use it.
RUN npm run build && npm uninstall --no-save --omit=dev --offline --no-audit --no-fund fuse-native && \
    rm -rf dist/lib && find dist node_modules '(' -name '*.map' -o -name '*.d.ts' ')' -delete && \
    find node_modules -type d -empty -delete

FROM ${BASE}
COPY --from=installed /src/package.json /opt/nfs-fuse/
COPY --from=installed /src/node_modules /opt/nfs-fuse/node_modules
COPY --from=installed /src/dist /opt/nfs-fuse/dist
RUN ln -s /opt/nfs-fuse/dist/bin/nfs-fuse.js /usr/local/bin/nfs-fuse && mkdir -p /mnt
# Unmounts and flushes on SIGTERM, which `docker stop` and `podman stop` send.
STOPSIGNAL SIGTERM
# A mount that hangs, or has lost its server, is unhealthy; --no-healthcheck where the container mounts nothing.
HEALTHCHECK --interval=30s --timeout=15s --start-period=30s --retries=3 \
  CMD nfs-fuse check --mount "${NFS_FUSE_MOUNTPOINT:-/mnt}"
ENTRYPOINT ["nfs-fuse"]
CMD ["--help"]
