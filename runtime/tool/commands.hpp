// commands.hpp: what each subcommand of `lagoon` does, past its command line.
//
//   Errors     lagoon::Error for everything that exit status 2 stands for
//
// Each returns the exit status: 0, or 1 for an ordinary outcome that is not success.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lagoon::inline v1::tool {

constexpr int exit_outcome = 1;
constexpr int exit_error = 2;

/// What every subcommand is told.
struct Common {
    std::string directory;    // empty: LAGOON_DIR, else /dev/shm
    std::int64_t owner = -1;  // a user id trusted beside our own and root's
    bool json = false;
};

int list(const Common& common);
/// At most `limit` elements of an array and slots of a pool; 0: all.
int show(const Common& common, const std::string& arena, std::uint64_t limit);
int reap(const Common& common, const std::string& arena);
int remove(const Common& common, const std::string& arena);
int evict(const Common& common, const std::string& arena, std::uint32_t pid,
          std::optional<double> timeout_seconds);

/// One element of one member.
struct Place {
    std::string arena;
    std::string member;
    std::optional<std::uint64_t> index;
};
int get(const Common& common, const Place& place);
int add(const Common& common, const Place& place, const std::string& amount);

struct LeaseRequest {
    std::string arena;
    std::string pool;
    std::optional<double> timeout_seconds;  // none: wait for ever
    bool no_wait = false;
    bool mark_clean = false;
    int conflict_exit_code = exit_outcome;
    std::vector<std::string> command;
};
int lease(const Common& common, const LeaseRequest& request);

/// The whole command: the line of words to its exit status. Nothing is thrown.
int run(int argc, char** argv);

}  // namespace lagoon::inline v1::tool
