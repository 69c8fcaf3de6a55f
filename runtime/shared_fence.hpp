// shared_fence.hpp: one heavy fence for several threads that want one at the same time.
#pragma once

#include <lagoon/detail/pool_layout.hpp>

namespace lagoon::inline v1::detail {

/// As heavy_fence(), behind a seq_cst read-modify-write of the caller's: runs one, or finds that
/// another thread's, in whichever process, has begun behind that and ended. False where the kernel
/// refuses it.
bool shared_fence(FenceTickets& tickets) noexcept;

}  // namespace lagoon::inline v1::detail
