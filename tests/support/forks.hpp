// forks.hpp: a unit test that forks says so by a tag, for it cannot run everywhere.
#pragma once

namespace support {

/// False in a unit test that has neither the tag [child] nor [process].
inline bool may_fork = true;

}  // namespace support
