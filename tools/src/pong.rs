//! The other end of a ping: sends back what comes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use anyhow::Context;

use crate::How;

pub fn run(listen: SocketAddr, size: usize, once: bool, how: How) -> anyhow::Result<()> {
    if how.udp {
        let socket = UdpSocket::bind(listen).with_context(|| format!("cannot listen on UDP {listen}"))?;
        return udp(&socket, size, how);
    }
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on TCP {listen}"))?;
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(how.spin)?;
        tcp(&mut stream, size)?;
        if once {
            return Ok(());
        }
    }
}

fn tcp(stream: &mut TcpStream, size: usize) -> anyhow::Result<()> {
    let mut message = vec![0; size];
    loop {
        let mut have = 0;
        while have < size {
            match stream.read(&mut message[have..]) {
                Ok(0) => return Ok(()),
                Ok(n) => have += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        // One message is in flight, so the send buffer always has room for it.
        stream.write_all(&message)?;
    }
}

fn udp(socket: &UdpSocket, size: usize, how: How) -> anyhow::Result<()> {
    socket.set_nonblocking(how.spin)?;
    let mut message = vec![0; size];
    loop {
        match socket.recv_from(&mut message) {
            Ok((length, from)) => {
                socket.send_to(&message[..length], from)?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}
