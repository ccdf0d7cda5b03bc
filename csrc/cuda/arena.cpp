#include "arena.hpp"

namespace dash {
namespace gpu {

void Arena::send() const {
    const Timer timer(timings().transfer);
    to_device(device_, host_, used_);
}

void Arena::fetch() const {
    const Timer timer(timings().transfer);
    to_host(host_, device_, used_);
}

char* Pool::device(Name name, int64_t bytes) {
    Piece& piece = device_[name];
    if (bytes > piece.bytes) {
        if (piece.memory) device_release(piece.memory);
        piece = {};
        piece.memory = static_cast<char*>(device_allocate(bytes));
        piece.bytes = bytes;
    }
    return piece.memory;
}

char* Pool::staging(Name name, int64_t bytes) {
    Piece& piece = staging_[name];
    if (bytes > piece.bytes) {
        if (piece.memory) staging_release(piece.memory);
        piece = {};
        piece.memory = static_cast<char*>(staging_allocate(bytes));
        piece.bytes = bytes;
    }
    return piece.memory;
}

void Pool::release() noexcept {
    for (Piece& piece : device_) {
        if (piece.memory) device_release(piece.memory);
        piece = {};
    }
    for (Piece& piece : staging_) {
        if (piece.memory) staging_release(piece.memory);
        piece = {};
    }
}

Pool& pool() {
    // one for each device; never destroyed: the driver may be gone before static objects are
    static auto* all = new std::map<int, Pool>;
    return (*all)[current_device()];
}

void release_memory() { pool().release(); }

Timings& timings() {
    static Timings all{};
    return all;
}

Timings take_timings() {
    const Timings found = timings();
    timings() = {};
    return found;
}

}  // namespace gpu
}  // namespace dash
