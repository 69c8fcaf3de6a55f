// arena_create.cpp: making an arena.
//
// An unnamed file, its bytes reserved, the header, the creator's member lock, everything else, and
// only then the name. A creator killed before that leaves nothing.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include <lagoon/error.hpp>

#include "arena_file.hpp"
#include "arena_request.hpp"
#include "construction.hpp"
#include "fence.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::uint64_t reserve_piece = std::uint64_t{64} << 20;

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
    plan.root_offset = round_up(
        plan.directory_offset + scratch.directory().size() * sizeof(DirectoryEntry), align);
    plan.storage_offset = round_up(plan.root_offset + request.root.bytes, page_bytes);
    plan.storage_bytes = scratch.storage_bytes();
    plan.total = round_up(plan.storage_offset + plan.storage_bytes, page_bytes);
    return plan;
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
                        where +
                            " is on a file system without unnamed files (O_TMPFILE); use a "
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
        const int error =
            ::posix_fallocate(fd.get(), static_cast<off_t>(done), static_cast<off_t>(piece));
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

Ownership chosen_ownership(Ownership asked) {
    const char* set = std::getenv("LAGOON_OWNERSHIP");
    if (asked != Ownership::automatic || set == nullptr) return asked;
    const std::string_view named{set};
    if (named == "biased") return Ownership::biased;
    return named == "symmetric" ? Ownership::symmetric : Ownership::unbiased;
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
    const Ownership ownership = chosen_ownership(request.options.ownership);
    const bool light = ownership != Ownership::symmetric && register_for_fences();
    header.flags = (request.options.lifetime == Lifetime::scoped ? flag_scoped : 0) |
                   (light ? flag_light_store : 0) |
                   (light && ownership == Ownership::biased ? flag_biased : 0);
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

/// Behind the user's own code: a child that was forked in it is not the creator.
void require_own(std::uint64_t epoch) noexcept {
    if (epoch != process_epoch()) [[unlikely]] {
        contract_failure(
            "a struct's constructor or on_create returns in a child that was forked in it: the "
            "arena is still the parent's; end the child there, by exec or _exit");
    }
}

/// A child that was forked in the user's own code leaves what it has joined itself, and its copies
/// of the mapping and the descriptor; the membership that it finds here is its parent's.
void abandon_locked(Attachment& attachment) noexcept {
    const ProcessLock lock;
    abandon(attachment);
}

/// The arena, complete and attached, but without a name.
Attachment& build(const Request& request) {
    const std::uint64_t epoch = process_epoch();
    Construction scratch{request.root, lanes_of(request.options)};
    scratch.run(request.what);
    require_own(epoch);
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
        require_own(epoch);
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
            throw Error{
                Errc::bad_layout,
                request.what + ": the struct's constructor is not deterministic: " + error.what()};
        }
        std::copy(ours.begin(), ours.end(),
                  reinterpret_cast<DirectoryEntry*>(base + plan.directory_offset));
        header.checksum = checksum_of(header, ours.data());
        if (request.root.on_create) request.root.on_create(attachment->root());
        require_own(epoch);
    } catch (...) {
        abandon_locked(*attachment);
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
        (errno == ENOENT && ::linkat(fd, "", AT_FDCWD, request.path.c_str(), AT_EMPTY_PATH) == 0)) {
        return Named::yes;
    }
    if (errno == EEXIST) return Named::taken;
    const int error = errno;
    throw Error{
        error == EACCES || error == EPERM || error == EROFS ? Errc::not_permitted
        : error == ENOSPC                                   ? Errc::no_space
                                                            : Errc::system,
        request.what + ": cannot give it the name " + request.path + ": " + os::error_text(error),
        error};
}

/// True when the name is free or was that of a stale arena and now is free.
bool clear_stale_name(const Request& request) {
    if (os::file_at(request.path) == os::FileId{}) return true;
    try {
        return remove_if_stale(request.path, request.options.owner, request.what) ||
               os::file_at(request.path) == os::FileId{};
    } catch (const Error& error) {
        throw Error{Errc::name_taken, request.what +
                                          " cannot be created, because of what has its "
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

}  // namespace

Attachment* create_arena(const Request& request) {
    if (!clear_stale_name(request)) throw_taken(request);
    Attachment& attachment = build(request);
    {
        // Before the name: from then on another thread may open it, and find this attachment.
        const ProcessLock lock;
        attachment.handles = 1;
    }
    try {
        for (int i = 0; i < name_attempts; ++i) {
            if (give_name(request, attachment) == Named::yes) {
                return &attachment;
            }
            if (!clear_stale_name(request)) break;
        }
        throw_taken(request);
    } catch (...) {
        abandon_locked(attachment);
        throw;
    }
}

}  // namespace lagoon::inline v1::detail
