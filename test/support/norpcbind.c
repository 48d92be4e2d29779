/*
 * Preloaded into nfs-ganesha, which refuses to serve NFSv3 where it cannot register with a portmapper: keeps
 * the registration of a service inside the process, so that no rpcbind is needed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef bool (*register_service)(void *transport, uint32_t program, uint32_t version, void *dispatch,
				 const void *netconfig);

/* Without a netconfig, libntirpc enters the service in its own table and tells nobody. */
bool svc_reg(void *transport, uint32_t program, uint32_t version, void *dispatch, const void *netconfig)
{
	register_service real = (register_service)dlsym(RTLD_NEXT, "svc_reg");

	(void)netconfig;
	if (!real)
		abort();
	return real(transport, program, version, dispatch, NULL);
}

bool rpcb_set(uint32_t program, uint32_t version, const void *netconfig, const void *address)
{
	(void)program, (void)version, (void)netconfig, (void)address;
	return true;
}

bool rpcb_unset(uint32_t program, uint32_t version, const void *netconfig)
{
	(void)program, (void)version, (void)netconfig;
	return true;
}
