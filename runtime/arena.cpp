// arena.cpp: making, opening, shutting down and removing arenas.
//
// Making: an unnamed file, its bytes reserved, the creator's member lock, everything written, and
// only then the name. A creator killed anywhere leaves nothing.
//
// Opening: the file, the shared gate, the name again, the owner, every field, a member entry, and
// only then the gate's release. Whoever removes a name holds the gate exclusively.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include <lagoon/arena.hpp>

#include "arena_file.hpp"
#include "attachment.hpp"
#include "construction.hpp"
#include "fence.hpp"
#include "lanes.hpp"
#include "members.hpp"
#include "process_state.hpp"
#include "reap.hpp"
#include "worker.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::uint64_t reserve_piece = std::uint64_t{64} << 20;
constexpr int attempts = 1000;  // each failed one means that somebody else got on

/// Everything that one call of create or open knows.
struct Request {
    std::string name;
    std::string directory;
    std::string path;
    std::string what;
    const ArenaOptions& options;
    const RootType& root;
};

/// Where everything lies in a new file.
struct Plan {
    std::uint32_t lanes = 0;
    std::uint64_t members_offset = 0;
    std::uint64_t lanes_offset = 0;
    std::uint64_t directory_offset = 0;
    std::uint64_t root_offset = 0;
    std::uint64_t storage_offset = 0;
    std::uint64_t storage_bytes = 0;
    std::uint64_t total = 0;
};

Plan make_plan(const Request& request, const Construction& scratch) {
    const ArenaOptions& options = request.options;
    if (options.max_processes == 0 || options.max_threads == 0 ||
        options.max_processes + options.max_threads > lane_limit) {
        throw Error{Errc::invalid_argument,
                    request.what + ": max_processes (" +
                        std::to_string(options.max_processes.value) + ") and max_threads (" +
                        std::to_string(options.max_threads.value) +
                        ") must each be at least 1 and together at most " +
                        std::to_string(lane_limit)};
    }
    Plan plan;
    plan.lanes = static_cast<std::uint32_t>(options.max_processes + options.max_threads);
    plan.members_offset = page_bytes;
    plan.lanes_offset = plan.members_offset + options.max_processes * sizeof(MemberEntry);
    plan.directory_offset = plan.lanes_offset + options.max_threads * sizeof(LaneEntry);
    const std::uint64_t align = std::max<std::uint64_t>(request.root.align, cache_line_bytes);
    if (align > page_bytes) {
        throw Error{Errc::bad_layout, request.what + ": the struct's alignment is over " +
                                          std::to_string(page_bytes) + " bytes"};
    }
    plan.root_offset =
        round_up(plan.directory_offset + scratch.directory().size() * sizeof(DirectoryEntry),
                 align);
    plan.storage_offset = round_up(plan.root_offset + request.root.bytes, page_bytes);
    plan.storage_bytes = scratch.storage_bytes();
    plan.total = round_up(plan.storage_offset + plan.storage_bytes, page_bytes);
    return plan;
}

std::uint32_t lanes_of(const ArenaOptions& options) {
    return static_cast<std::uint32_t>(options.max_processes + options.max_threads);
}

/// An unnamed file in the directory, all of its bytes backed by memory.
os::Fd make_unnamed_file(const Request& request, std::uint64_t bytes) {
    require_memory_room(bytes, request.what);
    os::Fd fd{::open(request.directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    if (!fd) {
        const int error = errno;
        const std::string where = request.what + ": directory " + request.directory;
        if (error == EOPNOTSUPP || error == EISDIR) {
            throw Error{Errc::not_supported,
                        where + " is on a file system without unnamed files (O_TMPFILE); use a "
                                "tmpfs such as /dev/shm",
                        error};
        }
        const bool denied = error == EACCES || error == EPERM || error == EROFS;
        throw Error{denied ? Errc::not_permitted : Errc::system,
                    where + " takes no new file: " + os::error_text(error) +
                        "; ArenaOptions::directory or LAGOON_DIR name another",
                    error};
    }
    for (std::uint64_t done = 0; done < bytes;) {
        const std::uint64_t piece = std::min(bytes - done, reserve_piece);
        const int error = ::posix_fallocate(fd.get(), static_cast<off_t>(done),
                                            static_cast<off_t>(piece));
        if (error == EINTR) continue;
        if (error != 0) {
            struct statvfs space {};
            const bool known = ::fstatvfs(fd.get(), &space) == 0;
            throw Error{error == ENOSPC || error == EFBIG || error == ENOMEM ? Errc::no_space
                                                                             : Errc::system,
                        request.what + ": needs " + std::to_string(bytes) + " bytes in " +
                            request.directory + ", which has " +
                            (known ? std::to_string(space.f_bavail * space.f_frsize + done)
                                   : std::string{"fewer"}) +
                            " free: " + os::error_text(error) +
                            "; make the arena smaller, remove others (lagoon ls), or enlarge "
                            "the tmpfs",
                        error};
        }
        done += piece;
    }
    // The umask has no say.
    if (::fchmod(fd.get(), static_cast<mode_t>(request.options.mode & 07777)) != 0) {
        throw Error{Errc::system, request.what + ": fchmod", errno};
    }
    return fd;
}

void write_header(ArenaHeader& header, const Request& request, const Plan& plan,
                  const std::vector<DirectoryEntry>& directory) {
    header.magic = arena_magic;
    header.version = format_version;
    header.byte_order = byte_order_mark;
    header.header_bytes = page_bytes;
    header.arena_bytes = plan.total;
    os::random_bytes(header.id.data(), sizeof header.id);
    header.boot_id = boot_id();
    const bool light = request.options.ownership != Ownership::symmetric && register_for_fences();
    header.flags = (request.options.lifetime == Lifetime::scoped ? flag_scoped : 0) |
                   (light ? flag_light_store : 0);
    header.max_members = static_cast<std::uint32_t>(request.options.max_processes);
    header.max_lanes = plan.lanes;
    header.directory_count = static_cast<std::uint32_t>(directory.size());
    header.members_offset = plan.members_offset;
    header.lanes_offset = plan.lanes_offset;
    header.directory_offset = plan.directory_offset;
    header.root_offset = plan.root_offset;
    header.root_bytes = request.root.bytes;
    header.storage_offset = plan.storage_offset;
    header.created_realtime_ns = os::realtime_ns();
    header.creator_pid = os::process_id();
    copy_text(header.name.data(), header.name.size(), request.name);
}

/// Touches every page, so that later accesses do not fault. Best effort on old kernels.
bool prefault(std::byte* base, std::uint64_t bytes) noexcept {
#ifdef MADV_POPULATE_WRITE
    return ::madvise(base, bytes, MADV_POPULATE_WRITE) == 0;
#else
    (void)base;
    (void)bytes;
    return false;
#endif
}

/// Under the process lock. Undone by `abandon` when something later throws.
Attachment& adopt_mapping(const Request& request, os::Fd fd, std::byte* base,
                          std::uint64_t bytes) {
    Attachment& attachment = *new_attachment();
    attachment.name = request.name;
    attachment.directory = request.directory;
    attachment.path = request.path;
    attachment.file = os::file_of(fd.get());
    attachment.creator = false;
    attachment.writable = true;
    attachment.want_keeper = request.options.keeper;
    attachment.prefaulted = request.options.prefault && prefault(base, bytes);
    // G11 release store -> G10, G11.
    attachment.fd.store(fd.release(), std::memory_order_release);
    publish_mapping(attachment, base, bytes);
    return attachment;
}

void abandon(Attachment& attachment) noexcept {
    leave_arena(attachment);
    forget_lanes(attachment);
    retire_mapping(attachment);
    // G12 acq_rel RMW <- G11.
    ::close(attachment.fd.exchange(-1, std::memory_order_acq_rel));
}

/// The arena, complete and attached, but without a name.
Attachment& build(const Request& request) {
    Construction scratch{request.root, lanes_of(request.options)};
    scratch.run(request.what);
    const Plan plan = make_plan(request, scratch);
    os::Fd fd = make_unnamed_file(request, plan.total);
    void* at = ::mmap(nullptr, plan.total, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (at == MAP_FAILED) {
        throw Error{Errc::system,
                    request.what + ": cannot map " + std::to_string(plan.total) +
                        " bytes: " + os::error_text(errno),
                    errno};
    }
    auto* base = static_cast<std::byte*>(at);
    auto& header = *reinterpret_cast<ArenaHeader*>(base);
    write_header(header, request, plan, scratch.directory());
    Attachment* attachment = nullptr;
    {
        const ProcessLock lock;
        attachment = &adopt_mapping(request, std::move(fd), base, plan.total);
    }
    try {
        {
            const ProcessLock lock;
            join_arena(*attachment);
            attachment->creator = true;
        }
        Construction real{request.root,     plan.lanes,          base,
                          plan.root_offset, plan.storage_offset, plan.storage_bytes};
        real.run(request.what);
        const auto& ours = real.directory();
        try {
            require_same_directory(request.name, ours.data(), ours.size(),
                                   scratch.directory().data(), scratch.directory().size(),
                                   "the constructor's second run", "its first");
            for (std::size_t i = 0; i < ours.size(); ++i) {
                if (ours[i].extent != scratch.directory()[i].extent) {
                    throw Error{Errc::layout_mismatch,
                                std::string{"the extent of '"} + ours[i].name.data() + "' differs"};
                }
            }
        } catch (const Error& error) {
            throw Error{Errc::bad_layout,
                        request.what + ": the struct's constructor is not deterministic: " +
                            error.what()};
        }
        std::memcpy(base + plan.directory_offset, ours.data(),
                    ours.size() * sizeof(DirectoryEntry));
        header.checksum = checksum_of(header, ours.data());
        if (request.root.on_create) request.root.on_create(attachment->root());
    } catch (...) {
        const ProcessLock lock;
        abandon(*attachment);
        throw;
    }
    return *attachment;
}

enum class Named { yes, taken };

/// One instruction decides: the name leads to us or to somebody else.
Named give_name(const Request& request, Attachment& attachment) {
    const int fd = sound_fd(attachment);
    const std::string self = "/proc/self/fd/" + std::to_string(fd);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, request.path.c_str(), AT_SYMLINK_FOLLOW) == 0 ||
        (errno == ENOENT &&
         ::linkat(fd, "", AT_FDCWD, request.path.c_str(), AT_EMPTY_PATH) == 0)) {
        return Named::yes;
    }
    if (errno == EEXIST) return Named::taken;
    const int error = errno;
    throw Error{error == EACCES || error == EPERM || error == EROFS ? Errc::not_permitted
                : error == ENOSPC                                   ? Errc::no_space
                                                                    : Errc::system,
                request.what + ": cannot give it the name " + request.path + ": " +
                    os::error_text(error),
                error};
}

/// True when the name is free or was that of a stale arena and now is free.
bool clear_stale_name(const Request& request) {
    if (os::file_at(request.path) == os::FileId{}) return true;
    try {
        return remove_if_stale(request.path, request.options.owner, request.what) ||
               os::file_at(request.path) == os::FileId{};
    } catch (const Error& error) {
        throw Error{Errc::name_taken, request.what + " cannot be created, because of what has its "
                                                     "name already: " +
                                          error.what()};
    }
}

[[noreturn]] void throw_taken(const Request& request) {
    throw Error{Errc::name_taken,
                request.what + " exists already, as " + request.path +
                    ": open it, choose another name, or remove it (lagoon rm " + request.name +
                    "). An arena at namespace scope is created by every worker, too"};
}

Attachment* create(const Request& request) {
    if (!clear_stale_name(request)) throw_taken(request);
    Attachment& attachment = build(request);
    try {
        for (int i = 0; i < attempts; ++i) {
            if (give_name(request, attachment) == Named::yes) {
                const ProcessLock lock;
                attachment.handles = 1;
                return &attachment;
            }
            if (!clear_stale_name(request)) break;
        }
        throw_taken(request);
    } catch (...) {
        const ProcessLock lock;
        abandon(attachment);
        throw;
    }
}

void require_same_struct(const Request& request, const Construction& scratch,
                         const std::byte* base) {
    const auto& header = *reinterpret_cast<const ArenaHeader*>(base);
    const auto& ours = scratch.directory();
    require_same_directory(
        request.name, ours.data(), ours.size(),
        reinterpret_cast<const DirectoryEntry*>(base + header.directory_offset),
        header.directory_count, "this program", "the arena");
    if (header.root_bytes != request.root.bytes) {
        throw Error{Errc::layout_mismatch,
                    "arena '" + request.name + "': the struct has " +
                        std::to_string(request.root.bytes) + " bytes in this program and " +
                        std::to_string(header.root_bytes) + " in the arena"};
    }
    if (header.root_offset % std::max<std::uint64_t>(request.root.align, 1) != 0) {
        throw Error{Errc::layout_mismatch,
                    "arena '" + request.name + "': the struct is aligned differently"};
    }
}

/// A scoped arena that nobody is left in: it goes instead of being opened.
bool is_stale(int fd, const std::byte* base) {
    const auto& header = *reinterpret_cast<const ArenaHeader*>(base);
    const auto* members = reinterpret_cast<const MemberEntry*>(base + header.members_offset);
    return (header.flags & flag_scoped) != 0 && life_of(fd, header, members) == Life::nobody;
}

/// Attaches to the file behind `fd`, under its shared gate. Null when the name has moved on, or
/// the arena is stale.
Attachment* open_file(const Request& request, const Construction* scratch, os::Fd& fd,
                      bool* stale) {
    const Gate gate{fd.get(), os::LockKind::shared, request.what};
    if (os::file_at(request.path) != os::file_of(fd.get())) return nullptr;
    const MappedFile file = map_arena_file(fd.get(), true, request.what);
    Attachment* attachment = nullptr;
    try {
        *stale = is_stale(fd.get(), file.base);
        if (*stale) {
            ::munmap(file.base, file.bytes);
            return nullptr;
        }
        if (scratch != nullptr) require_same_struct(request, *scratch, file.base);
        const ProcessLock lock;
        const auto& header = *reinterpret_cast<const ArenaHeader*>(file.base);
        // Q2 acquire load <- Q1.
        if (header.state.load(std::memory_order_acquire) != 0) {
            throw Error{Errc::closed, request.what + " was shut down"};
        }
        if (Attachment* known = find_attachment(os::file_of(fd.get()), header.id)) {
            ensure_member_locked(*known);
            ++known->handles;
            if (request.options.prefault && !known->prefaulted) {
                known->prefaulted = prefault(known->at(0), known->header->arena_bytes);
            }
            ::munmap(file.base, file.bytes);
            return known;
        }
        attachment = &adopt_mapping(request, std::move(fd), file.base, file.bytes);
    } catch (...) {
        ::munmap(file.base, file.bytes);
        throw;
    }
    const ProcessLock lock;
    try {
        join_arena(*attachment);
    } catch (...) {
        abandon(*attachment);
        throw;
    }
    attachment->handles = 1;
    return attachment;
}

/// Null when there is no such arena (any more).
Attachment* try_open(const Request& request, const Construction* scratch) {
    for (int i = 0; i < attempts; ++i) {
        os::Fd fd = open_arena_file(request.path, true, request.what);
        if (!fd) return nullptr;
        require_owner(fd.get(), request.options.owner, request.what);
        bool stale = false;
        if (Attachment* attachment = open_file(request, scratch, fd, &stale)) return attachment;
        if (stale) (void)remove_name(request.path, fd.get(), false, request.what);
    }
    throw Error{Errc::busy, request.what + ": its name changed hands " +
                                std::to_string(attempts) + " times while it was being opened"};
}

Attachment* open(const Request& request, const Construction* scratch) {
    Attachment* attachment = try_open(request, scratch);
    if (attachment == nullptr) {
        throw Error{Errc::no_such_arena,
                    request.what + " does not exist: there is no " + request.path +
                        " with a living member; create it first, or see `lagoon ls`"};
    }
    return attachment;
}

Attachment* open_typed(const Request& request) {
    Construction scratch{request.root, lanes_of(request.options)};
    scratch.run(request.what);
    return open(request, &scratch);
}

Attachment* open_or_create(const Request& request, bool* created) {
    Construction scratch{request.root, lanes_of(request.options)};
    scratch.run(request.what);
    for (int i = 0; i < attempts; ++i) {
        *created = false;
        if (Attachment* attachment = try_open(request, &scratch)) return attachment;
        try {
            *created = true;
            return create(request);
        } catch (const Error& error) {
            if (error.errc() != Errc::name_taken) throw;
        }
    }
    throw Error{Errc::busy, request.what + ": its name came and went " +
                                std::to_string(attempts) + " times"};
}

Request make_request(std::string_view name, const ArenaOptions& options, const RootType& root) {
    require_started_properly();
    require_arena_name(name);
    (void)process_epoch();
    const std::string directory = arena_directory(options.directory);
    return {std::string{name},
            directory,
            arena_path(directory, name),
            "arena '" + std::string{name} + "'",
            options,
            root};
}

}  // namespace

Attachment* attach_untyped(std::string_view name, const ArenaOptions& options) {
    const RootType any;
    const Request request = make_request(name, options, any);
    Attachment* attachment = open(request, nullptr);
    (void)repair_the_dead(*attachment);
    return attachment;
}

Attachment* attach(OpenMode mode, std::string_view name, const ArenaOptions& options,
                   const RootType& root, bool* created) {
    const Request request = make_request(name, options, root);
    bool dummy = false;
    bool& made = created != nullptr ? *created : dummy;
    Attachment* attachment = nullptr;
    switch (mode) {
        case OpenMode::create:
            made = true;
            return create(request);
        case OpenMode::open:
            made = false;
            attachment = open_typed(request);
            break;
        case OpenMode::open_or_create:
            attachment = open_or_create(request, &made);
            break;
    }
    if (!made) (void)repair_the_dead(*attachment);
    return attachment;
}

void shut_down(Attachment* attachment, ShutDown mode) {
    ensure_member(attachment);
    attachment->for_each(Kind::pool, [&](const DirectoryEntry&, std::byte* object) {
        shut_down_pool(*reinterpret_cast<PoolObject*>(object), mode);
    });
    // Q1 release store -> Q2, E4.
    attachment->header->state.store(1, std::memory_order_release);
    (void)repair_the_dead(*attachment);
    attachment->for_each(Kind::pool, [&](const DirectoryEntry&, std::byte* object) {
        pool_clear(*reinterpret_cast<PoolObject*>(object));
    });
    attachment->for_each(Kind::lock, [](const DirectoryEntry&, std::byte* object) {
        wake_lock(*reinterpret_cast<Atomic<std::uint64_t>*>(object));
    });
    attachment->for_each(Kind::value, [](const DirectoryEntry&, std::byte* object) {
        wake(reinterpret_cast<ValueCore*>(object)->event, everybody);
    });
    const int fd = sound_fd(*attachment);
    if (fd >= 0) (void)remove_name(attachment->path, fd, true, "arena '" + attachment->name + "'");
}

}  // namespace lagoon::inline v1::detail

namespace lagoon::inline v1 {

bool remove(std::string_view name, const OpenOptions& options) {
    detail::require_started_properly();
    detail::require_arena_name(name);
    const std::string path =
        detail::arena_path(detail::arena_directory(options.directory), name);
    const std::string what = "arena '" + std::string{name} + "'";
    for (int i = 0; i < detail::attempts; ++i) {
        const os::Fd fd = detail::open_arena_file(path, true, what);
        if (!fd) return false;
        detail::require_owner(fd.get(), options.owner, what);
        if (detail::remove_name(path, fd.get(), true, what)) return true;
    }
    throw Error{Errc::busy, what + ": its name changed hands while it was being removed"};
}

bool remove(std::string_view name) { return remove(name, OpenOptions{}); }
bool remove(const char* name) { return remove(std::string_view{name}); }

}  // namespace lagoon::inline v1
