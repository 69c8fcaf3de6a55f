// futex.hpp: sleeping on a word in shared memory, as the kernel gives it.
#pragma once

#include <cstdint>

#include <lagoon/detail/atomic.hpp>

namespace lagoon_perf {

using FutexWord = lagoon::detail::Atomic<std::uint32_t>;

/// Sleeps while the word is so, until a wake, a signal or 100 ms have come.
void futex_sleep(FutexWord& word, std::uint32_t while_it_is);
void futex_wake(FutexWord& word, int count);

}  // namespace lagoon_perf
