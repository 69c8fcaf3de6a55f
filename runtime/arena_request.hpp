// arena_request.hpp: what making and opening an arena share.
#pragma once

#include <string>

#include <lagoon/arena_options.hpp>

#include "attachment.hpp"
#include "os.hpp"

namespace lagoon::inline v1::detail {

/// Everything that one call of create or open knows.
struct Request {
    std::string name;
    std::string directory;
    std::string path;
    std::string what;
    const ArenaOptions& options;
    const RootType& root;
};

constexpr int name_attempts = 1000;  // each failed one means that somebody else got on

/// Lanes of an arena made with these options.
[[nodiscard]] std::uint32_t lanes_of(const ArenaOptions& options);

// arena_create.cpp
/// Makes the arena and gives it its name; throws name_taken.
[[nodiscard]] Attachment* create_arena(const Request& request);

// arena.cpp
/// Under the process lock. Undone by `abandon` when something later throws.
[[nodiscard]] Attachment& adopt_mapping(const Request& request, os::Fd fd, std::byte* base,
                                        std::uint64_t bytes);
/// Under the process lock.
void abandon(Attachment& attachment) noexcept;

}  // namespace lagoon::inline v1::detail
