// arena_options.hpp: how an arena is made and opened.
//
//   Shape      aggregates; the order of the fields is part of the API
#pragma once

#include <cstdint>
#include <string>

#include <lagoon/count.hpp>

namespace lagoon::inline v1 {

enum class Lifetime : std::uint32_t {
    scoped,      ///< the name goes with the last member, or by shut_down()
    persistent,  ///< the name stays until lagoon::remove(name) or shut_down()
};

enum class Ownership : std::uint32_t {
    automatic,  ///< as LAGOON_OWNERSHIP says (biased, unbiased, symmetric), else unbiased
    biased,     ///< as unbiased, and threads keep some of what they give back: taking it again has
                ///< no locked instruction, and who finds nothing else steals it by membarrier
    symmetric,  ///< giving back is an exchange; nobody's CPU is interrupted, not by waiting either
    unbiased,   ///< giving back is a plain store where the kernel has membarrier; who waits
                ///< interrupts the others' CPUs by it
};

struct ArenaOptions {
    Lifetime lifetime = Lifetime::scoped;
    std::uint32_t mode = 0600;  ///< permission bits of the file, whatever the umask
    std::int64_t owner = -1;    ///< a user id trusted beside our own and root's; -1: none
    /// Default: LAGOON_DIR, else /dev/shm. A relative one is looked up once, in the call.
    std::string directory = {};
    Count max_processes = 128;  ///< attached at one time, over all programs
    Count max_threads = 512;    ///< with a lane of their own; further ones share
    bool prefault = false;      ///< touch every page now, in this process
    Ownership ownership = Ownership::automatic;
    bool keeper = true;  ///< one sleeping thread, so that our death is noticed at once
};

struct OpenOptions {
    std::int64_t owner = -1;
    std::string directory = {};
    bool prefault = false;
    bool keeper = true;
};

/// How `shut_down` treats what is lent.
enum class ShutDown : std::uint32_t {
    now,    ///< what is lent stays with its holder, who destroys it when giving it back
    drain,  ///< waits until everything is given back first
};

/// What a repair did.
struct Reaped {
    std::uint64_t processes = 0;   ///< members found dead and cleared
    std::uint64_t leases = 0;      ///< slots taken back from dead borrowers
    std::uint64_t builds = 0;      ///< slots whose builder, checker or destroyer had died
    std::uint64_t locks = 0;       ///< locks unlocked, value claims undone
    std::uint64_t hooks_run = 0;   ///< check, reset or destroy, by this call
    std::uint64_t dirty_left = 0;  ///< slots that still want a hook this process does not have

    Reaped& operator+=(const Reaped& other) noexcept;
    friend bool operator==(const Reaped&, const Reaped&) = default;
};

}  // namespace lagoon::inline v1
