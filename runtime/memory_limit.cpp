// memory_limit.cpp: asks the memory cgroup whether an arena can fit.
//
// A full tmpfs refuses; a full memory cgroup kills. So the limits and usages of this process's
// cgroup and its ancestors are read first, in both versions of the interface.
#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>
#include <string>

#include <lagoon/error.hpp>

#include "arena_file.hpp"
#include "os.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::uint64_t no_limit = std::uint64_t{1} << 60;

std::optional<std::uint64_t> number_in(const std::string& path) {
    const std::string text = os::read_file(path);
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end == text.data()) return std::nullopt;
    return number;
}

/// Pages of files that can be written back or dropped when room is wanted.
std::uint64_t reclaimable(const std::string& directory) {
    std::istringstream lines{os::read_file(directory + "/memory.stat")};
    std::string key;
    std::uint64_t number = 0;
    std::uint64_t sum = 0;
    std::uint64_t totals = 0;
    while (lines >> key >> number) {
        // Version 1 counts a group's descendants under names of their own, as its usage does.
        const bool total = key == "total_inactive_file" || key == "total_active_file";
        if (total) totals += number;
        if (key == "inactive_file" || key == "active_file" || key == "slab_reclaimable") {
            sum += number;
        }
    }
    return std::max(sum, totals);
}

void check_directory(const std::string& directory, const char* limit_file, const char* usage_file,
                     std::uint64_t bytes, const std::string& what) {
    const auto limit = number_in(directory + "/" + limit_file);
    const auto usage = number_in(directory + "/" + usage_file);
    if (!limit || !usage || *limit >= no_limit) return;
    const std::uint64_t spare = reclaimable(directory);
    const std::uint64_t firm = *usage > spare ? *usage - spare : 0;
    const std::uint64_t room = *limit > firm ? *limit - firm : 0;
    if (bytes > room) {
        throw Error{Errc::no_space,
                    what + ": needs " + std::to_string(bytes) + " bytes and the memory cgroup " +
                        directory + " has room for " + std::to_string(room) + " of its " +
                        std::to_string(*limit) +
                        "; make the arena smaller or raise the limit, for the kernel would kill "
                        "this process instead of refusing"};
    }
}

/// `path` and all its ancestors below `mount`.
void check_upwards(const std::string& mount, std::string path, const char* limit_file,
                   const char* usage_file, std::uint64_t bytes, const std::string& what) {
    for (;;) {
        check_directory(mount + path, limit_file, usage_file, bytes, what);
        const auto slash = path.rfind('/');
        if (slash == std::string::npos || path.size() <= 1) break;
        path.resize(slash == 0 ? 1 : slash);
    }
    check_directory(mount, limit_file, usage_file, bytes, what);
}

}  // namespace

void require_memory_room(std::uint64_t bytes, const std::string& what) {
    std::istringstream lines{os::read_file("/proc/self/cgroup")};
    std::string line;
    while (std::getline(lines, line)) {
        const auto first = line.find(':');
        const auto second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const std::string path = line.substr(second + 1);
        if (controllers.empty()) {
            check_upwards("/sys/fs/cgroup", path, "memory.max", "memory.current", bytes, what);
        } else if (("," + controllers + ",").find(",memory,") != std::string::npos) {
            check_upwards("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes",
                          "memory.usage_in_bytes", bytes, what);
        }
    }
}

}  // namespace lagoon::inline v1::detail
