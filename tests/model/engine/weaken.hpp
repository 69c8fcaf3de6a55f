// weaken.hpp: one call made weaker than it is written, and which calls were made at all.
//
//   LAGOON_MODEL_WEAKEN   FILE:FIRST-LAST:HOW, where FILE is the end of a path and HOW is one of
//                         relaxed acquire release acq_rel   the order of the call
//                         failure                           a failed compare-and-swap is relaxed
//                         torn                              a load, and a store some time later
//                         gone                              a fence does nothing
//   LAGOON_MODEL_SITES    a file to which every call that was made is written: FILE:LINE
#pragma once

#include <atomic>
#include <string>

#include "door.hpp"

namespace model {

enum class Weaker { no, order, failure, torn, gone };

/// What becomes of the call at this place; its order where that is what changes.
Weaker weakened(Site site, std::memory_order* order) noexcept;
/// For the engine's own tests: as the environment variable says it.
void set_weaker(const std::string& what);

}  // namespace model
