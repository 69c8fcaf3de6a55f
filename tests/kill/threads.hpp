// threads.hpp: threads that are not to be had.
//
// A sweep goes through one thread. In a process that says so the kernel refuses it another one, and
// the library does there what a thread of its own would have done.
#pragma once

namespace rig {

inline bool threads_are_refused = false;

}  // namespace rig
