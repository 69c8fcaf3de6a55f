// fence.hpp: registration for the asymmetric fence of detail/atomic.hpp.
#pragma once

#include <lagoon/detail/atomic.hpp>

namespace lagoon::inline v1::detail {

/// Asks the kernel once to include this process in heavy fences; false where it refuses.
bool register_for_fences() noexcept;

}  // namespace lagoon::inline v1::detail
