// sleep.hpp: sleeps that nothing but the kernel's word ends.
//
// The library caps every sleep, so that a wake-up that is lost costs time and nothing else. A test
// of wake-ups must not be helped by that. In a process that says so the caps are left out: it
// sleeps until somebody wakes it, or a death does.
#pragma once

#include <chrono>

namespace rig {

/// In this process, and in those that it forks. Deadlines are left out, too, where they are as far
/// away as a cap: whoever waits to one does not set this.
inline bool sleeps_have_no_cap = false;

/// Sleeps that are shorter are no caps: whoever has seen the mark of a death looks again soon.
constexpr std::chrono::milliseconds shortest_cap{20};

}  // namespace rig
