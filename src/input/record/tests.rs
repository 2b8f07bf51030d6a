use super::*;

#[test]
fn netlink_messages_too_many_for_a_frame_are_cut_between_messages() {
    let message = |octets: usize| {
        let mut bytes = (octets as u32).to_ne_bytes().to_vec();
        bytes.resize(octets.next_multiple_of(4), 7);
        bytes
    };
    let mut all = Vec::new();
    for index in 0..9 {
        all.extend(message(50_001 + index));
    }
    let pieces: Vec<&[u8]> = frames_of(&all).collect();
    assert_eq!(pieces.concat(), all);
    assert!(pieces.len() > 1);
    for piece in &pieces {
        assert!(piece.len() <= MAX_FRAME - NETLINK_HEADER.len());
        assert!(message_length(piece).is_some());
    }
    assert_eq!(frames_of(&all[..16]).count(), 1);
    assert_eq!(frames_of(&[]).count(), 0);
    let garbage = vec![0xff; 300_000];
    assert_eq!(frames_of(&garbage).count(), 1);
}
