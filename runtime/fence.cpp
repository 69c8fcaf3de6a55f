// fence.cpp: the expensive half of the asymmetric fence, and the registration for it.
//
// The kernel's barrier reaches only CPUs that run a registered process. Fork inherits the
// registration and exec clears it, so a process registers when it attaches to an arena that needs
// it.
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "fence.hpp"

#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
// Thread sanitizer does not see fences. What they order here is atomic on both sides, so it has
// nothing to report either.
#pragma GCC diagnostic ignored "-Wtsan"
#endif

namespace lagoon::inline v1::detail {

namespace {

enum Registration : std::uint32_t { unasked, registered, refused };
constinit Atomic<std::uint32_t> registration{unasked};

}  // namespace

bool register_for_fences() noexcept {
    // F1 acquire load <- F2.
    const std::uint32_t known = registration.load(std::memory_order_acquire);
    if (known != unasked) return known == registered;
    const long supported = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    const bool ok =
        supported > 0 && (supported & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0 &&
        ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0 &&
        ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
    // F2 release store -> F1: two threads may both ask; they get the same answer.
    registration.store(ok ? registered : refused, std::memory_order_release);
    return ok;
}

bool fence_is_asymmetric() noexcept {
    // F1 acquire load <- F2.
    return registration.load(std::memory_order_acquire) == registered;
}

bool heavy_fence() noexcept {
    if (fence_is_asymmetric() &&
        ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0) {
        return true;
    }
    return heavy_fence(false);
}

bool heavy_fence(bool others_light) noexcept {
    if (others_light) return heavy_fence();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return false;
}

}  // namespace lagoon::inline v1::detail
