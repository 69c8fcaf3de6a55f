// view.cpp: arenas without their struct: the view, the list, reaping by name.
#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include <lagoon/arena.hpp>
#include <lagoon/arena_view.hpp>

#include "arena_file.hpp"
#include "attachment.hpp"
#include "construction.hpp"
#include "members.hpp"
#include "process_state.hpp"
#include "reap.hpp"
#include "worker.hpp"

namespace lagoon::inline v1 {

using namespace detail;

struct ArenaView::State {
    std::byte* base = nullptr;
    std::uint64_t bytes = 0;
    os::Fd fd;
    Attachment* attachment = nullptr;  // of a writable view

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        if (attachment != nullptr) {
            drop_handle(attachment);
        } else if (base != nullptr) {
            ::munmap(base, bytes);
        }
    }
    [[nodiscard]] const ArenaHeader& header() const noexcept {
        return *reinterpret_cast<const ArenaHeader*>(base);
    }
    [[nodiscard]] MemberEntry* members() const noexcept {
        return reinterpret_cast<MemberEntry*>(base + header().members_offset);
    }
    [[nodiscard]] DirectoryEntry* directory() const noexcept {
        return reinterpret_cast<DirectoryEntry*>(base + header().directory_offset);
    }
};

namespace {

std::string what_of(std::string_view name) { return "arena '" + std::string{name} + "'"; }

[[noreturn]] void throw_absent(std::string_view name, const std::string& path) {
    throw Error{Errc::no_such_arena, what_of(name) + " does not exist: there is no " + path +
                                         " with a living member; see `lagoon ls`"};
}

/// A scoped arena that nobody is left in.
bool is_left(int fd, const std::byte* base) {
    const auto& header = *reinterpret_cast<const ArenaHeader*>(base);
    const auto* members = reinterpret_cast<const MemberEntry*>(base + header.members_offset);
    return (header.flags & flag_scoped) != 0 && life_of(fd, header, members) == Life::nobody;
}

}  // namespace

ArenaView ArenaView::open(std::string_view name, const ViewOptions& options) {
    require_started_properly();
    require_arena_name(name);
    const std::string path = arena_path(arena_directory(options.directory), name);
    auto state = std::make_unique<State>();
    if (options.writable) {
        ArenaOptions all;
        all.owner = options.owner;
        all.directory = options.directory;
        all.keeper = options.keeper;
        state->attachment = attach_untyped(name, all);
        state->base = reinterpret_cast<std::byte*>(state->attachment->header);
        state->bytes = state->attachment->header->arena_bytes;
        return ArenaView{std::move(state)};
    }
    const std::string what = what_of(name);
    state->fd = open_arena_file(path, false, what);
    if (!state->fd) throw_absent(name, path);
    require_owner(state->fd.get(), options.owner, what);
    const MappedFile file = map_arena_file(state->fd.get(), false, what);
    state->base = file.base;
    state->bytes = file.bytes;
    if (is_left(state->fd.get(), state->base)) {
        try {
            (void)remove_if_stale(path, options.owner, what);
        } catch (const Error&) {
            // Not ours to remove; it is no less absent.
        }
        throw_absent(name, path);
    }
    return ArenaView{std::move(state)};
}

ArenaView::ArenaView(std::unique_ptr<State> state) noexcept : state_{std::move(state)} {}
ArenaView::ArenaView(ArenaView&&) noexcept = default;
ArenaView& ArenaView::operator=(ArenaView&&) noexcept = default;
ArenaView::~ArenaView() = default;

std::string_view ArenaView::name() const noexcept { return state_->header().name.data(); }
std::uint64_t ArenaView::bytes() const noexcept { return state_->bytes; }
bool ArenaView::scoped() const noexcept { return (state_->header().flags & flag_scoped) != 0; }
bool ArenaView::is_shut_down() const noexcept { return detail::is_shut_down(state_->header()); }
std::uint32_t ArenaView::creator_pid() const noexcept { return state_->header().creator_pid; }
std::uint64_t ArenaView::created_realtime_ns() const noexcept {
    return state_->header().created_realtime_ns;
}
std::uint64_t ArenaView::deaths() const noexcept {
    // R5 relaxed load, no pair: a statistic.
    return state_->header().deaths.load(std::memory_order_relaxed);
}

std::vector<MemberInfo> ArenaView::members() const {
    std::vector<MemberInfo> all;
    for (std::uint32_t i = 0; i < state_->header().directory_count; ++i) {
        const DirectoryEntry& entry = state_->directory()[i];
        all.push_back({.name = entry.name.data(),
                       .kind = type_text(entry),
                       .element_type = entry.element_type.data(),
                       .element_bytes = entry.element_bytes,
                       .extent = entry.extent,
                       .offset = state_->header().root_offset + entry.object_offset,
                       .bytes = entry.storage_bytes});
    }
    return all;
}

std::vector<ProcessInfo> ArenaView::processes() const {
    std::vector<ProcessInfo> all;
    for (std::uint32_t i = 0; i < state_->header().max_members; ++i) {
        const MemberEntry& member = state_->members()[i];
        const MemberLife life = state_->attachment != nullptr
                                    ? member_life(*state_->attachment, i)
                                    : member_life(state_->fd.get(), member, i);
        if (life == MemberLife::free) continue;
        all.push_back({.member = i,
                       .pid = member.pid,
                       .alive = life != MemberLife::dead,
                       .keeper = (member.flags & member_has_keeper) != 0,
                       .attached_realtime_ns = member.attached_realtime_ns});
    }
    return all;
}

const DirectoryEntry* ArenaView::entry(std::string_view name) const noexcept {
    const DirectoryEntry* begin = state_->directory();
    const DirectoryEntry* end = begin + state_->header().directory_count;
    const auto* found =
        std::find_if(begin, end, [&](const auto& e) { return e.name.data() == name; });
    return found == end ? nullptr : found;
}

void* ArenaView::object(const DirectoryEntry& entry) const {
    return state_->base + state_->header().root_offset + entry.object_offset;
}

void* ArenaView::find_checked(std::string_view name, const DirectoryEntry& expected) const {
    const DirectoryEntry* found = entry(name);
    if (found == nullptr) {
        throw Error{Errc::not_found, "arena '" + std::string{this->name()} + "' has no member '" +
                                         std::string{name} + "'"};
    }
    DirectoryEntry ours = expected;
    ours.object_offset = found->object_offset;
    require_same_directory(std::string{this->name()}, &ours, 1, found, 1, "this program",
                           "the arena");
    return object(*found);
}

std::vector<ArenaListing> list_arenas(const std::string& directory) {
    require_started_properly();
    const std::string where = arena_directory(directory);
    std::vector<ArenaListing> all;
    const std::unique_ptr<DIR, int (*)(DIR*)> entries{::opendir(where.c_str()), &::closedir};
    if (entries == nullptr) {
        throw Error{Errc::system, "cannot list " + where + ": " + os::error_text(errno), errno};
    }
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(entries.get())) {
        const std::string_view file = entry->d_name;
        if (file.starts_with(arena_prefix)) names.emplace_back(file.substr(arena_prefix.size()));
    }
    std::sort(names.begin(), names.end());
    for (const auto& name : names) {
        ArenaListing listing;
        listing.name = name;
        const std::string path = arena_path(where, name);
        struct stat found {};
        if (::lstat(path.c_str(), &found) != 0) continue;
        listing.bytes = static_cast<std::uint64_t>(found.st_size);
        try {
            require_arena_name(name);
            const std::string what = what_of(name);
            os::Fd fd = open_arena_file(path, false, what);
            if (!fd) continue;
            const MappedFile file = map_arena_file(fd.get(), false, what);
            const bool left = is_left(fd.get(), file.base);
            ::munmap(file.base, file.bytes);
            if (left && remove_if_stale(path, -1, what)) continue;
        } catch (const Error& error) {
            listing.problem = error.what();
        }
        all.push_back(std::move(listing));
    }
    return all;
}

Reaped reap(std::string_view name, const OpenOptions& options) {
    require_started_properly();
    require_arena_name(name);
    const std::string path = arena_path(arena_directory(options.directory), name);
    const os::Fd fd = open_arena_file(path, true, what_of(name));
    if (!fd) throw_absent(name, path);
    require_owner(fd.get(), options.owner, what_of(name));
    // With nobody left there is nothing to repair for: the name goes, and all with it.
    if (remove_name(path, fd.get(), false, what_of(name))) return {};
    ArenaOptions all;
    all.owner = options.owner;
    all.directory = options.directory;
    all.keeper = options.keeper;
    Reaped done;
    Attachment* attachment = attach_untyped(name, all, &done);
    done += detail::reap(attachment);
    drop_handle(attachment);
    return done;
}

Reaped reap(std::string_view name) { return reap(name, OpenOptions{}); }

namespace detail {

DirectoryEntry describe(std::string_view name, std::uint64_t bytes, std::uint64_t align,
                        void (*construct)(void* where, const char* name)) {
    const std::string text{name.substr(name.rfind('.') + 1)};
    RootType type;
    type.bytes = bytes;
    type.align = align;
    type.construct = [&](void* where) { construct(where, text.c_str()); };
    Construction scratch{type, 1};
    const std::string quoted = std::string{"'"}.append(name).append("'");
    scratch.run(quoted);
    if (scratch.directory().size() != 1) {
        throw Error{Errc::bad_layout, quoted + " is not a single member"};
    }
    DirectoryEntry entry = scratch.directory().front();
    copy_text(entry.name.data(), entry.name.size(), name);
    return entry;
}

}  // namespace detail

}  // namespace lagoon::inline v1
