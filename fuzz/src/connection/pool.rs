//! A host's frames: each of them is in exactly one place.

use farwire::base::FrameId;

/// Whose a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Free,
    /// The transport's, with a segment to be sent or to be acknowledged.
    Written,
    /// The transport's, with a segment that waits for earlier ones.
    Arrived,
    /// The application's, with a segment that was delivered.
    Lent,
}

/// All frames of a host.
pub struct Pool {
    places: Vec<Place>,
    /// The link still holds the frame, whoever's it is.
    in_link: Vec<bool>,
    /// What a received frame carries.
    payload: Vec<Vec<u8>>,
}

impl Pool {
    pub fn new(frames: usize) -> Pool {
        Pool { places: vec![Place::Free; frames], in_link: vec![false; frames], payload: vec![Vec::new(); frames] }
    }

    /// How many are in this place.
    pub fn count(&self, place: Place) -> usize {
        self.places.iter().filter(|other| **other == place).count()
    }

    /// A frame that nobody has, the same as last time if it can be: an ACK of what it held before may still come.
    pub fn find(&self) -> Option<FrameId> {
        let free = |id: &usize| self.places[*id] == Place::Free && !self.in_link[*id];
        (0..self.places.len()).find(free).map(|id| FrameId(id as u32))
    }

    pub fn put(&mut self, id: FrameId, from: Place, to: Place) {
        let place = &mut self.places[id.0 as usize];
        assert_eq!(*place, from, "frame {id:?} becomes {to:?}");
        *place = to;
    }

    /// The transport needs the frame no longer.
    pub fn release(&mut self, id: FrameId) {
        let place = &mut self.places[id.0 as usize];
        assert!(matches!(place, Place::Written | Place::Arrived), "frame {id:?} is released, and is {place:?}");
        *place = Place::Free;
    }

    /// The frame leaves, and the link keeps it for now if it `holds` what it sends.
    pub fn send(&mut self, id: FrameId, holds: bool) {
        let at = id.0 as usize;
        assert_eq!(self.places[at], Place::Written, "frame {id:?} is sent");
        assert!(!self.in_link[at], "frame {id:?} is sent while the link has it");
        self.in_link[at] = holds;
    }

    /// The link gives some frames back: those of which the transport must be told.
    pub fn complete(&mut self, most: usize) -> Vec<FrameId> {
        let held: Vec<usize> = (0..self.places.len()).filter(|id| self.in_link[*id]).take(most).collect();
        held.iter().for_each(|id| self.in_link[*id] = false);
        let kept = held.into_iter().filter(|id| self.places[*id] == Place::Written);
        kept.map(|id| FrameId(id as u32)).collect()
    }

    /// Which frames the link has.
    pub fn in_link(&self) -> &[bool] {
        &self.in_link
    }

    pub fn payload_mut(&mut self, id: FrameId) -> &mut Vec<u8> {
        &mut self.payload[id.0 as usize]
    }

    pub fn payload(&self, id: FrameId) -> &[u8] {
        &self.payload[id.0 as usize]
    }
}
