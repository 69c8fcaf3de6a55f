// attachment.hpp: what the templates ask of the runtime about an arena, without its struct.
//
//   Shape      an Attachment is a process's one mapping and one membership of an arena; handles
//              count themselves on it
//   Errors     every function that is not noexcept throws Error
//   Death      private memory: a fork copies it, and the child's copy is foreign until its first
//              call attaches it as a member of its own
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <lagoon/arena_options.hpp>
#include <lagoon/detail/layout.hpp>
#include <lagoon/detail/wait.hpp>
#include <lagoon/outcome.hpp>

namespace lagoon::inline v1::detail {

struct Attachment;

/// The root struct without its type.
struct RootType {
    std::uint64_t bytes = 0;
    std::uint64_t align = 0;
    std::function<void(void* where)> construct;
    std::function<void(void* root)> on_create;  // empty: none
};

enum class OpenMode { create, open, open_or_create };

/// Counts the new handle; `created` says which of the two open_or_create did.
Attachment* attach(OpenMode mode, std::string_view name, const ArenaOptions& options,
                   const RootType& root, bool* created = nullptr);

void add_handle(Attachment* attachment) noexcept;
/// The last handle detaches the process. Throws leases_outstanding and stays attached when this
/// process still holds leases.
void close_handle(Attachment* attachment);
/// As close_handle, for destructors: with leases out the process stays attached.
void drop_handle(Attachment* attachment) noexcept;

[[nodiscard]] void* root_of(Attachment* attachment);
[[nodiscard]] const std::string& name_of(const Attachment* attachment) noexcept;
[[nodiscard]] const std::string& directory_of(const Attachment* attachment) noexcept;
[[nodiscard]] const ArenaHeader& header_of(const Attachment* attachment) noexcept;
[[nodiscard]] bool was_prefaulted(const Attachment* attachment) noexcept;
/// Makes sure that this process (a forked child, perhaps) is a member.
void ensure_member(Attachment* attachment);
/// This process's member entry: index and incarnation.
struct MemberId {
    std::uint32_t index;
    std::uint64_t state;
};
[[nodiscard]] MemberId member_id(Attachment* attachment);

Reaped reap(Attachment* attachment);
Outcome shut_down(Attachment* attachment, ShutDown mode, const Patience& patience);
Outcome evict(Attachment* attachment, std::uint32_t pid, const Patience& patience);

/// The attachment whose mapping holds `object`, or null.
[[nodiscard]] Attachment* attachment_of(const void* object) noexcept;

[[noreturn]] void throw_closed(std::string_view name);

}  // namespace lagoon::inline v1::detail
